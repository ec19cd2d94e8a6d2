"""What one labelled image is, and all of them together."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Task = Literal["single", "multi"]  # one label an image, or any number
SAID: dict[Task, str] = {"single": "one label", "multi": "several labels"}


@dataclass(frozen=True)
class Sample:
    """One image: ``path`` relative to the data's root (POSIX), its labels, and what the data itself says of it.

    Attributes:
        labels: One name; with several labels an image any number of them, in order.
        split: ``train``, ``valid`` or ``test``, if the data says so.
        group: Images of one group (a patient, a film) stay on one side of a split.
    """

    path: str
    labels: tuple[str, ...]
    split: str | None = None
    group: str | None = None

    @property
    def label(self) -> str:
        """The only label.

        Raises:
            ValueError: if there are several, or none.
        """
        (only,) = self.labels
        return only


@dataclass(frozen=True)
class Samples:
    """All labelled images, and how they were found."""

    root: Path
    items: tuple[Sample, ...]
    layout: str
    ignored: tuple[str, ...] = ()
    multi_label: bool = False
    corrections: int = 0
    recognised: bool = False  # from a folder or table of the user's, which `data.labels` can read otherwise

    @property
    def class_counts(self) -> dict[str, int]:
        """Images per class, classes in order."""
        return dict(sorted(Counter(label for s in self.items for label in s.labels).items()))
