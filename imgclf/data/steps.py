"""Steps of the data pipeline that are called directly."""

from typing import Any


class Direct:
    """To be mixed into a ``Transform`` that makes one thing, by ``make``; of an item, a tuple, its first part.

    fastai looks by the types of all parts for what to do, and then for the type to return: a tenth of a millisecond
    for each step and image, half of what they cost beside the decoding.
    """

    def __call__(self, x: Any, split_idx: int | None = None, **_: Any) -> Any:
        self.begin(split_idx)
        return (self.make(x[0]), *x[1:]) if isinstance(x, tuple) else self.make(x)

    def begin(self, split_idx: int | None) -> None:
        """Before each image: 0 for training, 1 for validation."""

    def make(self, x: Any) -> Any:
        raise NotImplementedError
