"""What a list of arguments means: files, folders, patterns, addresses, or a list on standard input; one at a time."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgclf.data.images import SUFFIXES
from imgclf.data.walk import SYSTEM_NAMES
from imgclf.errors import DataError, UserError
from imgclf.shipping.fetch import SCHEMES, Address, scheme

STDIN = "-"
ALLOW = "--allow-network"


@dataclass(frozen=True)
class Unreadable:
    """Something that was named and cannot be read, with the reason."""

    what: str
    reason: str

    def __str__(self) -> str:
        return self.what


Source = Path | Address | Unreadable


@dataclass(frozen=True)
class Sources:
    """What was asked for, checked: iterating walks through it lazily, any number of times unless ``-`` is part of it.

    Attributes:
        arguments: As given.
        stdin: Where ``-`` reads paths from, one a line.
        allow_network: Whether addresses may be fetched.
    """

    arguments: tuple[str, ...]
    stdin: BinaryIO | None = None
    allow_network: bool = False

    def __post_init__(self) -> None:
        """Raises ``DataError`` for what is not there, ``UserError`` for addresses that may not be fetched."""
        for argument in self.arguments:
            if scheme(argument):
                self._check_address(argument)
            elif argument != STDIN and not os.path.lexists(argument) and next(_matches(argument), None) is None:
                what = "nothing matches the pattern" if glob.has_magic(argument) else "there is no file or folder"
                raise DataError(f"{what} {argument}")
        if self.arguments.count(STDIN) > 1:
            raise UserError("'-' is named twice: standard input can be read once")

    @property
    def repeatable(self) -> bool:
        """Whether going through it twice gives the same."""
        return STDIN not in self.arguments

    def __iter__(self) -> Iterator[Source]:
        for argument in self.arguments:
            if scheme(argument):
                yield Address(argument)
            elif argument == STDIN:
                yield from self._listed()
            elif os.path.lexists(argument):
                yield from images_at(Path(argument))
            else:
                for match in _matches(argument):
                    yield from images_at(Path(match))

    def _check_address(self, argument: str) -> None:
        if scheme(argument) not in SCHEMES:
            raise UserError(f"'{argument}' cannot be fetched: only {' and '.join(SCHEMES)} addresses can")
        if not self.allow_network:
            raise UserError(f"'{argument}' is an address, and the network is used only if you say so", ALLOW)

    def _listed(self) -> Iterator[Source]:
        assert self.stdin is not None, "nobody said where the list comes from"
        for line in self.stdin:
            if text := os.fsdecode(line.rstrip(b"\r\n")):
                yield from self._line(text)

    def _line(self, text: str) -> Iterator[Source]:
        if not scheme(text):
            yield from images_at(Path(text))
        elif self.allow_network and scheme(text) in SCHEMES:
            yield Address(text)
        else:
            yield Unreadable(text, f"an address: {' and '.join(SCHEMES)} ones are fetched with {ALLOW}")


def images_under(paths: Iterable[Path | str]) -> list[Path]:
    """The image files meant by ``paths``: a folder stands for all images below it, sorted; a file for itself.

    In folders, hidden files and folders, a system's own, and files without an image's suffix are passed over; a file
    that is named is kept whatever its suffix. The list is empty if the folders hold no images.

    Raises:
        DataError: for a path that does not exist.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not os.path.exists(path):  # noqa: PTH110 - pathlib's raises for a name no file can have
            raise DataError(f"there is no file or folder {path}")
        found += (one for one in images_at(path) if isinstance(one, Path))
    return found


def images_at(path: Path) -> Iterator[Path | Unreadable]:
    """A file itself; of a folder all images below it, in the order of their paths, one folder's names in memory."""
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib's raises for a name no file can have
        yield path
        return
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as e:
        yield Unreadable(str(path), e.strerror or str(e))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SYSTEM_NAMES:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from images_at(path / entry.name)
        elif Path(entry.name).suffix.lower() in SUFFIXES and not entry.is_dir():
            yield path / entry.name


def _matches(pattern: str) -> Iterator[str]:
    """What a pattern stands for that no shell has expanded; ``**`` is any number of folders."""
    pattern = os.path.expanduser(pattern)  # noqa: PTH111 - a pattern is text until it has been matched
    if os.path.lexists(pattern):
        yield pattern
    elif glob.has_magic(pattern):
        yield from sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - pathlib's has no home and no "photos/*"
