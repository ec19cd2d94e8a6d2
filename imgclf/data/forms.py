"""What is made of an image file before anything random happens to it: what a cache of images can keep."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from imgclf.data.colours import GreyRange
from imgclf.data.images import Preprocess, ResizeRule, decode, draft_size

SCALES = (8, 4, 2, 1)  # by which Pillow lets the JPEG decoder shrink


class File(NamedTuple):
    """What the check knows of a file: the hash of its content, its sides when upright, pixels.

    ``number`` counts the files of a run; ``drafted``: a JPEG, which the decoder may shrink.
    """

    number: int
    digest: str
    width: int
    height: int
    drafted: bool
    training: bool


@dataclass(frozen=True)
class Detail:
    """A training image: decoded no finer than ``at_least`` pixels on its shorter side need.

    With ``average`` what is then still twice as fine, or several times, is averaged down by as much.
    """

    at_least: int
    average: bool
    grey_range: GreyRange | None = None

    def make(self, path: Path) -> Image.Image:
        image = decode(path, self.at_least, self.grey_range)
        by = min(image.size) // self.at_least
        return image.reduce(by) if self.average and by > 1 else image

    def shape(self, file: File) -> tuple[int, int]:
        """Height and width of what ``make`` gives."""
        width, height = file.width, file.height
        if file.drafted:
            wanted = draft_size((width, height), self.at_least)
            fits = min(width // wanted[0], height // wanted[1])
            by = next(scale for scale in SCALES if fits >= scale)
            width, height = -(-width // by), -(-height // by)
        by = min(width, height) // self.at_least if self.average else 1
        return (-(-height // by), -(-width // by)) if by > 1 else (height, width)

    @property
    def mark(self) -> int:
        """A number other than that of any other form in the same run."""
        return self.at_least


@dataclass(frozen=True)
class Fitted:
    """Any other image: as the model will see it for ever, before it turns grey."""

    size: int
    rule: ResizeRule
    grey_range: GreyRange | None = None
    crop_pct: float = 1.0

    @classmethod
    def of(cls, preprocess: Preprocess) -> "Fitted":
        return cls(preprocess.size, preprocess.resize, preprocess.grey_range, preprocess.crop_pct)

    def make(self, path: Path) -> Image.Image:
        record = Preprocess(self.size, self.rule, grey_range=self.grey_range, crop_pct=self.crop_pct)
        return record.fit(record.open(path, record.decode_pixels))

    def shape(self, file: File) -> tuple[int, int]:
        """Height and width of what ``make`` gives."""
        return self.size, self.size

    @property
    def mark(self) -> int:
        """A number other than that of any other form in the same run."""
        return -self.size


Form = Detail | Fitted


def nbytes(form: Form, file: File) -> int:
    """What the pixels of a file take."""
    height, width = form.shape(file)
    return 3 * height * width
