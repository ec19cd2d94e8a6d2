"""Steps from a sample to a batch that fastai has otherwise, and what lets them be called directly."""

from pathlib import Path
from typing import Any

from fastai.vision import all as fastai
from fastai.vision.all import Normalize, TensorCategory, TensorImage, Transform, image2tensor
from torch import Tensor

from imgclf.data.samples import Sample
from imgclf.data.split import Dataset


class Direct:
    """To be mixed into a ``Transform`` that makes one thing, by ``make``; of an item, a tuple, its first part.

    fastai looks by the types of all parts for what to do, and then for the type to return: a tenth of a millisecond
    for each step and image.
    """

    def __call__(self, x: Any, split_idx: int | None = None, **_: Any) -> Any:
        self.begin(split_idx)
        return (self.make(x[0]), *x[1:]) if isinstance(x, tuple) else self.make(x)

    def begin(self, split_idx: int | None) -> None:
        """Before each image: 0 for training, 1 for validation."""

    def make(self, x: Any) -> Any:
        raise NotImplementedError


class SamplePath(Direct, Transform):
    """``get_x``: a sample's path.

    A Transform itself: fastai would make one of any other callable with a function inside that no spawned worker can
    unpickle.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def make(self, sample: Sample) -> Path:
        return self.root / sample.path


class KnownLabels(Direct, Transform):
    """``get_y``: a sample's label; in multi-label data those of its labels that are classes."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.multi_label, self.known = dataset.multi_label, frozenset(dataset.classes)

    def make(self, sample: Sample) -> Any:
        return [name for name in sample.labels if name in self.known] if self.multi_label else sample.label


class Standardise(Normalize):
    """fastai's ``Normalize``, in place: the same numbers, without two more batches in memory for a moment."""

    def encodes(self, x: TensorImage) -> TensorImage:
        return x.sub_(self.mean).div_(self.std)


class Categorize(Direct, fastai.Categorize):
    """fastai's."""

    def make(self, label: str) -> TensorCategory:
        return TensorCategory(self.vocab.o2i[label])


class ToTensor(Direct, fastai.ToTensor):
    """fastai's, for images; of what is a tensor already it stays one."""

    def make(self, x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else TensorImage(image2tensor(x))
