"""One file: can it be decoded to its end, what is it, and what does it look like?"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imgclf.data import changes, near, reasons
from imgclf.data.images import decode, need_file, open_image

# A small target lets the JPEG decoder skip the fine detail, yet it reads the whole file: truncation shows. Photographs
# from a camera are checked several times faster so.
PROBE_PIXELS = 128
ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # orientations that exchange width and height
MOST_PAGES = 1000
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, MemoryError)


@dataclass(frozen=True)
class Look:
    """What a readable image is.

    Attributes:
        width, height: Of the upright picture, pixels.
        mode: Pillow's, as stored: ``RGB``, ``L``, ``P``, ``I;16`` …
        format: Pillow's, of the content, whatever the suffix says.
        orientation: EXIF's, 1 (upright) to 8.
        frames: Of an animation, or pages; of a TIFF at most ``MOST_PAGES``.
        hash, small: See ``near.portrait``.
        probe: Hash of the pixels as decoded for the check.
        pixels: Hash of all pixels; "" where the check decoded a JPEG more coarsely.
    """

    width: int
    height: int
    mode: str
    format: str
    orientation: int
    frames: int
    hash: bytes
    small: bytes
    probe: str
    pixels: str

    @property
    def ratio(self) -> float:
        """The longer side over the shorter one."""
        return max(self.width, self.height) / min(self.width, self.height)


@dataclass(frozen=True)
class FileCheck:
    """What one file turned out to be; ``reason`` is None for a good image, ``look`` for a bad one."""

    path: str
    reason: str | None
    size: int
    digest: str
    look: Look | None = None


def inspect_file(
    path: Path, limit: Callable[[int], contextlib.AbstractContextManager[object]] | None = None
) -> FileCheck:
    """Read, hash and decode one file.

    Args:
        limit: ``limit(pixels)`` is entered around the decoding, so that many at once do not fill the memory.
    """
    try:
        need_file(path)
        content = path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: a name no file can have
        return FileCheck(str(path), getattr(e, "strerror", None) or str(e), 0, "")
    except MemoryError:
        return FileCheck(str(path), reasons.NO_MEMORY, 0, "")
    digest, size, head = changes.digest(content), len(content), content[: reasons.HEAD_BYTES]
    del content  # not held while the picture is
    if size == 0:
        return FileCheck(str(path), reasons.EMPTY, 0, digest)
    try:
        return FileCheck(str(path), None, size, digest, _look(path, limit or _unlimited))
    except UNREADABLE as e:
        return FileCheck(str(path), reasons.explain(e, head), size, digest)
    except Exception as e:  # Pillow's plug-ins leak any exception on damaged headers
        return FileCheck(str(path), f"damaged: {e}", size, digest)


def _unlimited(_: int) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext()


def _look(path: Path, limit: Callable[[int], contextlib.AbstractContextManager[object]]) -> Look:
    with open_image(path) as image:
        mode, kind, (width, height) = image.mode, str(image.format), image.size
        drafted = kind in ("JPEG", "MPO") and "progressive" not in image.info
        orientation, frames = orientation_of(image), _frames(image)
    # A baseline JPEG is decoded coarsely, and never held whole.
    with limit(width * height // 16 if drafted else width * height):
        picture = decode(path, at_least=PROBE_PIXELS)
        if orientation in TURNED:
            width, height = height, width
        look_hash, small = near.portrait(picture)
        probe = _pixel_hash(picture, width, height)
        whole = probe if picture.size == (width, height) else ""
    return Look(width, height, mode, kind, orientation, frames, look_hash, small, probe, whole)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation; 1 where it is missing or makes no sense."""
    with contextlib.suppress(Exception):  # damaged EXIF: `decode` decides whether the picture can be read
        value = image.getexif().get(ORIENTATION, 1)
        return value if value in range(1, 9) else 1
    return 1


def _frames(image: Image.Image) -> int:
    """How many pictures the file holds; 1 where later ones are damaged: only the first is used."""
    with contextlib.suppress(Exception):
        return _pages(image) if image.format == "TIFF" else int(getattr(image, "n_frames", 1))
    return 1


def _pages(image: Image.Image) -> int:
    """Not ``n_frames``, whose time grows with the square of the pages: 100,000 of them, in 11 MB, took 76 seconds."""
    for page in range(1, MOST_PAGES):
        try:
            image.seek(page)
        except EOFError:
            return page
    return MOST_PAGES


def pixel_hash(path: Path) -> str:
    """The hash of all pixels of a file, upright and as RGB; "" if it can no longer be read."""
    try:
        picture = decode(path)
    except UNREADABLE:
        return ""
    return _pixel_hash(picture, *picture.size)


def _pixel_hash(picture: Image.Image, width: int, height: int) -> str:
    made = hashlib.blake2b(f"{width}x{height}".encode(), digest_size=16)
    made.update(picture.tobytes())
    return made.hexdigest()


def suffix_fits(path: str, kind: str) -> bool:
    """Whether a file's suffix names the format of its content."""
    meant = Image.registered_extensions().get(Path(path).suffix.lower())
    return meant is None or SAME_FORMAT.get(meant, meant) == SAME_FORMAT.get(kind, kind)
