"""Decode an image file and bring it to the model's size: the one implementation used from training to export.

``decode`` and ``Preprocess.fit`` are pure Pillow, so that prediction needs neither fastai nor torch for them.
"""

import io
import re
import stat
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from imgclf.data.colours import GreyRange, to_rgb

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_PIXELS = 150_000_000
LARGE = 16_000_000  # pixels; a photograph of a phone has 12 million
# Our own list: the one of `mimetypes` holds .svg and depends on what was imported before.
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "gif", "webp", "avif", "tif", "tiff", "jp2", "j2k"),
        *("bmp", "dib", "tga", "ppm", "pgm", "pbm", "pnm"),
    )
)

# The kinds of files that are read, whatever a file is called, and Pillow's plug-in for each. Pillow knows forty more:
# readers that are rarely used are rarely tested, and one hands the file to a program of the machine (EPS: Ghostscript).
KINDS = {
    "JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "GIF": "Gif", "TIFF": "Tiff", "BMP": "Bmp", "JPEG2000": "Jpeg2K",
    "AVIF": "Avif", "PPM": "Ppm", "MPO": "Mpo", "DIB": "Bmp", "TGA": "Tga",
}  # fmt: skip
# What bytes from the network may be: a TGA or DIB has no mark at its beginning, so that almost anything could be one.
FROM_STRANGERS = tuple(kind for kind in KINDS if kind not in ("TGA", "DIB"))

ResizeRule = Literal["crop", "pad", "squish"]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels
# What the first models had without a word about it: fields of ``Preprocess`` that are written where they differ.
LATER: dict[str, Any] = {"grey_range": None, "crop_pct": 1.0}


@dataclass(frozen=True)
class Preprocess:
    """Everything between a decoded image and the model's input; stored in every artefact.

    ``size`` in pixels; ``mean`` and ``std`` on the scale 0 to 1, one for each of the model's ``channels``: 3 is RGB, 1
    is grey. ``grey_range``: what becomes black and white in files of grey with more than 8 bits. ``crop_pct``, as timm
    calls it: the share of the shorter side that the square of ``crop`` shows.
    """

    size: int
    resize: ResizeRule = "crop"
    interpolation: Literal["bilinear"] = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: Literal[1, 3] = 3
    grey_range: GreyRange | None = None
    crop_pct: float = 1.0

    def open(self, path: Path, at_least: int | None = None) -> Image.Image:
        """``decode``, as the model wants it."""
        return decode(path, at_least, self.grey_range)

    def fit(self, image: Image.Image) -> Image.Image:
        """The image as RGB at (size, size): what the model sees, before normalisation.

        A model with one channel turns this grey (``luma``) as its first step.
        """
        whole = resize(image, self.resized, self.resize, (0.5, 0.5))
        if self.resized == self.size:
            return whole
        edge = (self.resized - self.size) // 2
        return whole.crop((edge, edge, edge + self.size, edge + self.size))

    @property
    def resized(self) -> int:
        """The side of the square of whose pixels the model sees the central ones: 0.875 at 224 is 256, as in timm."""
        return int(self.size / self.crop_pct)

    @property
    def framing(self) -> str:
        """How an image becomes square, for people."""
        return self.resize if self.crop_pct == 1 else f"{self.resize} of {self.crop_pct:.3g} of the shorter side"

    @property
    def colours(self) -> str:
        """``channels`` in a word, for people."""
        return "grey" if self.channels == 1 else "RGB"

    @property
    def decode_pixels(self) -> int:
        """What ``decode`` may shrink the shorter side to: twice what it is resized to, so that there is detail left to
        average.

        Without that margin a shrunk JPEG and a fully decoded one give probabilities up to 0.2 apart at 64 pixels.
        """
        return 2 * self.resized

    def load(self, path: Path) -> np.ndarray:
        """A file as a uint8 array (size, size, 3)."""
        return np.asarray(self.fit(self.open(path, self.decode_pixels)))

    def load_stranger(self, data: bytes, most_pixels: int, alone: AbstractContextManager | None = None) -> np.ndarray:
        """The bytes of a file from the network, as ``load`` reads it from the disk; raises as ``decode`` does.

        Args:
            alone: Held while an image of more than ``LARGE`` pixels is decoded, which can take a gigabyte.
        """
        return np.asarray(self.fit(decode_stranger(data, self.decode_pixels, most_pixels, alone, self.grey_range)))

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for name, usual in LATER.items():
            if found[name] == usual:
                del found[name]  # so that versions that do not know it read all other models
        return found

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Preprocess":
        """The record of ``to_dict``; RGB where ``channels`` is missing, as in files of version 0.1."""
        lists = ("mean", "std", *(["grey_range"] if record.get("grey_range") is not None else []))
        return cls(**{**record, **{name: tuple(record[name]) for name in lists}})


def decode(path: Path, at_least: int | None = None, grey_range: GreyRange | None = None) -> Image.Image:
    """A file as an upright RGB image.

    EXIF orientation applied; transparency composited on ``colours.BACKGROUND``; grey of 16 bits and of floats scaled by
    ``grey_range``, or by range; first frame of an animation. With ``at_least`` (pixels) a JPEG may come back smaller,
    its shorter side still no less than that: the decoder then skips most of the work (a 12-megapixel photograph decodes
    about seven times faster).

    Raises:
        OSError, ValueError, SyntaxError, MemoryError: for files that cannot be read.
    """
    return _decode(path, at_least, MAX_PIXELS, grey_range=grey_range)


def decode_stranger(
    data: bytes,
    at_least: int,
    most_pixels: int,
    alone: AbstractContextManager | None = None,
    grey_range: GreyRange | None = None,
) -> Image.Image:
    """Bytes from the network as ``decode`` gives a file: only of the kinds ``FROM_STRANGERS``."""
    return _decode(io.BytesIO(data), at_least, most_pixels, FROM_STRANGERS, alone, grey_range)


def open_image(file: Path | BinaryIO, kinds: Sequence[str] = tuple(KINDS)) -> Image.Image:
    """``Image.open`` for files of the kinds that are read, and the only place that calls it; decodes nothing yet."""
    if isinstance(file, Path):
        need_file(file)
    return Image.open(file, formats=[kind for kind in kinds if kind in _built()])


def need_file(path: Path) -> None:
    """Refuse, with an OSError, what is called like a file and would block or never end: a pipe, a device, a socket."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder is refused in the system's own words
        raise OSError("not a file but a pipe, a socket or a device")


@cache
def _built() -> frozenset[str]:
    """The kinds that this Pillow reads; loads their plug-ins, and no other."""
    for plugin in KINDS.values():
        with suppress(ImportError):  # older Pillows have no AVIF
            import_module(f"PIL.{plugin}ImagePlugin")
    return frozenset(Image.OPEN)


def _decode(
    file: Path | BinaryIO,
    at_least: int | None,
    most_pixels: int,
    kinds: Sequence[str] = tuple(KINDS),
    alone: AbstractContextManager | None = None,
    grey_range: GreyRange | None = None,
) -> Image.Image:
    try:
        with open_image(file, kinds) as image:
            n = image.width * image.height
            if n > most_pixels:
                raise ValueError(f"{image.width} x {image.height} pixels: more than the limit of {most_pixels:,}")
            with alone if alone and n > LARGE else nullcontext():
                return _upright(image, at_least, grey_range)
    except Image.DecompressionBombError as e:
        # Pillow refuses these before we can measure them, and names a limit of its own.
        n = int((re.findall(r"\d+", str(e)) or ["0"])[0])
        raise ValueError(f"{n:,} pixels: more than the limit of {most_pixels:,}") from e
    except (OSError, ValueError, SyntaxError, MemoryError):
        raise
    except Exception as e:  # Pillow's plug-ins leak RuntimeError, struct.error, IndexError … on damaged files
        raise OSError(f"damaged: {e}") from e


def _upright(image: Image.Image, at_least: int | None, grey_range: GreyRange | None) -> Image.Image:
    if at_least and image.format in ("JPEG", "MPO"):
        image.draft("RGB", draft_size(image.size, at_least))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies what is upright already
    return to_rgb(image, grey_range)


def resize(
    image: Image.Image, size: int, rule: ResizeRule, at: tuple[float, float], crop_pct: float = 1.0
) -> Image.Image:
    """To (size, size) pixels in one antialiased bilinear step, as fastai's ``Resize(size, method)`` does.

    Args:
        rule: ``crop`` the largest square, ``pad`` to the smallest one with reflection, or ``squish``.
        at: Where the square lies, (0, 0) top left to (1, 1) bottom right; (0.5, 0.5) is the centre.
        crop_pct: The side of the square of ``crop``, as a share of the image's shorter side.
    """
    return squared(image, size, rule, at, crop_pct).resize((size, size), Image.Resampling.BILINEAR)


def squared(
    image: Image.Image, size: int, rule: ResizeRule, at: tuple[float, float], crop_pct: float = 1.0
) -> Image.Image:
    """What becomes (size, size) pixels when resized as a whole; for ``squish`` the image itself."""
    # Not resize(box=…): that one lets pixels outside the square bleed in at its edges, fastai's does not.
    image, box = square_of(image, size, rule, at, crop_pct)
    return image if box == (0, 0, *image.size) else image.crop(box)


def square_of(
    image: Image.Image, size: int, rule: ResizeRule, at: tuple[float, float], crop_pct: float = 1.0
) -> tuple[Image.Image, Box]:
    """``squared``, still to be cut out of an image."""
    width, height = image.size
    if rule == "squish":
        return image, (0, 0, width, height)
    side = max(1, round(crop_pct * min(width, height))) if rule == "crop" else max(width, height)
    left, top = int(at[0] * (width - side)), int(at[1] * (height - side))
    if rule == "crop":
        return image, (left, top, left + side, top + side)
    if side * side > MAX_PIXELS and side > 4 * size:  # a 30,000 x 10 panorama would be padded to 2.7 GB
        scale = 4 * size / side
        image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
        return square_of(image, size, rule, at)
    pixels = np.asarray(image)
    across, down = (-left, side - width + left), (-top, side - height + top)
    mode: Any = "reflect" if min(width, height) > 1 else "edge"
    return Image.fromarray(np.pad(pixels, (down, across, (0, 0)), mode=mode)), (0, 0, side, side)


def draft_size(full: tuple[int, int], at_least: int) -> tuple[int, int]:
    """The size to ask the JPEG decoder for: it answers with the smallest n/8 of the image that is not below."""
    short = min(full)
    return (-(-full[0] * at_least // short), -(-full[1] * at_least // short)) if at_least < short else full
