"""Image paths of a table stay in its folder: a table from elsewhere reads no other files, on no system."""

import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from imgclf.errors import DataError

# A drive, a server or an address, whatever system this is: a table is checked where it is read, and used elsewhere too.
ELSEWHERE = re.compile(r"[A-Za-z]:[\\/]|\\|//|[A-Za-z][A-Za-z0-9+.-]+://")


def check(names: Iterable[tuple[int, str]], table: Path, folder: str | None) -> None:
    """Refuse paths that leave the table's folder and the configured one, as written or through a link.

    Before any of them is looked up: to ask Windows for a path on a server is to log in there.

    Args:
        names: With the number of each one's row.
        folder: ``data.image_folder``: where the paths begin, relative to the table's folder.

    Raises:
        DataError: for the first that does.
    """
    here = os.path.normpath(table.parent.absolute())
    start = os.path.normpath(Path(here) / (folder or ""))
    written, real = _within(here, start), _within(os.path.realpath(here), os.path.realpath(start))
    parent = cache(os.path.realpath)  # images share folders, and links in a path cost a look at each part of it
    for number, name in names:
        path = os.path.normpath(Path(start) / name)
        if ELSEWHERE.match(name) or not written(path) or not real(_real(path, parent)):
            raise DataError(
                f"{table}, row {number}: the image '{name}' is outside the table's folder {here}",
                "if the table is to be trusted: --set data.allow_outside=true",
            )


def _within(*folders: str) -> Callable[[str], bool]:
    starts = tuple(folder.rstrip(os.sep) + os.sep for folder in folders)
    return lambda path: path.startswith(starts)


def _real(path: str, parent: Callable[[str], str]) -> str:
    folder, name = os.path.split(path)
    # In text, as there may be a million of them.
    return os.path.realpath(path) if os.path.islink(path) else f"{parent(folder).rstrip(os.sep)}{os.sep}{name}"  # noqa: PTH114
