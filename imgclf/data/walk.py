"""Which files of a folder are images, and which are passed over."""

import os
from pathlib import Path, PurePosixPath
from typing import NoReturn

from imgclf.data.images import SUFFIXES
from imgclf.errors import DataError

SYSTEM_NAMES = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"})


def walk(root: Path) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """Image files under ``root`` (relative, sorted) and what was passed over (hidden, system, not an image).

    Raises:
        DataError: for a folder that cannot be read: a class would be missing, and nobody be told.
    """
    images: list[PurePosixPath] = []
    ignored: list[PurePosixPath | str] = []
    for folder, names, files in os.walk(root, followlinks=True, onerror=_unreadable):
        at = PurePosixPath(Path(folder).relative_to(root).as_posix())
        passed = {n for n in names if _hidden(n) or _leads_back(Path(folder, n))}
        ignored += [f"{at / n}/" for n in passed]
        names[:] = sorted(set(names) - passed)
        for name in files:
            good = not _hidden(name) and Path(name).suffix.lower() in SUFFIXES
            images.append(at / name) if good else ignored.append(at / name)
    return sorted(images), tuple(sorted(_readable(str(path)) for path in ignored))


def _hidden(name: str) -> bool:
    """Hidden, the system's own, or not UTF-8: no table, configuration or JSON document could hold such a name."""
    return name.startswith(".") or name in SYSTEM_NAMES or name != _readable(name)


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", errors="replace")


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that contains it: following it would never end."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _unreadable(error: OSError) -> NoReturn:
    raise DataError(
        f"the folder {error.filename} cannot be read: {error.strerror}", "let it be read, or move it out of the data"
    ) from error


def visible(folder: Path) -> list[Path]:
    """What is in a folder, hidden things left out; raises DataError as ``walk`` does."""
    try:
        return sorted(p for p in folder.iterdir() if not _hidden(p.name))
    except OSError as e:
        _unreadable(e)


def is_image(path: Path) -> bool:
    """Whether a path is a file that is called like an image."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def holds_images(folder: Path) -> bool:
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, files in os.walk(folder) for name in files)


def need_folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path} is a file; this layout needs a folder of images", "use data.labels: csv for a table")
    return path
