"""The embedded data set: scikit-learn's handwritten digits, written out as image files in the user's cache folder.

1,797 scans of 8 x 8 pixels in 16 grey levels (UCI Optical Recognition of Handwritten Digits), so that the first run
needs no network and goes through the same code as any folder of photographs.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from imgclf.data.cache import cache_folder
from imgclf.errors import DataError

NAME = "digits"
N_IMAGES = 1797


def folder() -> Path:
    """The folder with one folder of PNG files per digit; written on first use, whole or not at all."""
    target = cache_folder() / NAME
    if not _is_whole(target):
        try:
            _write(target)
        except OSError as e:
            raise DataError(
                f"cannot write the embedded digits to {target}: {e.strerror}",
                "name a writable folder in the environment variable IMGCLF_CACHE",
            ) from e
    return target


def _is_whole(folder: Path) -> bool:
    return sum(1 for _ in folder.glob("*/*.png")) == N_IMAGES


def _write(target: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{NAME}."))
    try:
        for i, (pixels, digit) in enumerate(zip(data.images, data.target, strict=True)):
            path = temporary / str(digit) / f"{i:04d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8)).save(path)
        _put(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # what is still there


def _put(made: Path, target: Path) -> None:
    """Rename a folder, unless another process, which may be reading its own, was faster: the files are the same."""
    try:
        made.replace(target)
    except OSError:
        if _is_whole(target):
            return
        shutil.rmtree(target, ignore_errors=True)  # some were removed since
        made.replace(target)
