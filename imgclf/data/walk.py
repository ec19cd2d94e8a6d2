"""Which files of a folder are images, and which are passed over."""

import os
from collections.abc import Callable, Iterator
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
    for folder, files, passed in _folders(root, _unreadable):
        at = PurePosixPath(folder.relative_to(root).as_posix())
        ignored += [f"{at / name}/" for name in passed]
        for name in files:
            (images if _called_image(name) else ignored).append(at / name)
    return sorted(images), tuple(sorted(_readable(str(path)) for path in ignored))


def _folders(
    root: Path, unreadable: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, list[str], set[str]]]:
    """Every folder from ``root`` on, with its files, and the folders in it that are passed over."""
    for folder, names, files in os.walk(root, followlinks=True, onerror=unreadable):
        passed = {name for name in names if _hidden(name) or _leads_back(Path(folder, name))}
        names[:] = sorted(set(names) - passed)
        yield Path(folder), files, passed


def _called_image(name: str) -> bool:
    return not _hidden(name) and Path(name).suffix.lower() in SUFFIXES


def _hidden(name: str) -> bool:
    """Hidden, the system's own, or not UTF-8: no table, configuration or JSON document could hold such a name."""
    return name.startswith(".") or name in SYSTEM_NAMES or name != _readable(name)


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", errors="replace")


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that the way to it has passed: following it would never end.

    Not only to one that contains it: two links may lead to each other's folder.
    """
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve().is_relative_to(target) for above in folder.parents)


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
    """Whether ``walk`` would find an image there; stops at the first."""
    return any(_called_image(name) for _, files, _ in _folders(folder) for name in files)


def need_folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path} is a file; this layout needs a folder of images", "use data.labels: csv for a table")
    return path
