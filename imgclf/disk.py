"""A disk that is full or refuses writing, told as that: whatever was being written, and by whichever library."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from imgclf.errors import RunError, told_as

FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
REFUSES = {errno.EROFS}
RIGHTS = {errno.EACCES, errno.EPERM}  # of a file: of one in our folder it is the disk's, of an image it is not
# Libraries that write files themselves, such as safetensors, have errors of their own that quote the system's words.
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "not enough space on the disk")
REFUSES_WORDS = ("Read-only file system",)


def is_full(error: OSError) -> bool:
    """Whether there was no room, or no more was allowed."""
    return error.errno in FULL


@contextlib.contextmanager
def explained(folder: Path, go_on: str | None = None) -> Iterator[None]:
    """Raise what the disk is to blame for as a RunError that says so.

    Args:
        folder: What is written to within the block.
        go_on: The command that goes on once the disk is mended.
    """
    with told_as(lambda e: explain(e, folder, go_on)):
        yield


def explain(error: BaseException, folder: Path | None = None, go_on: str | None = None) -> RunError | None:
    """The error for a disk that is full, or cannot be written; None for any other.

    Args:
        folder: Where files without the right to write are the disk's fault.
    """
    then = f", then go on: {go_on}" if go_on else ""
    for e in chain(error):
        said = _said(e, folder)
        if _is(e, FULL, FULL_WORDS):
            return RunError(f"the disk is full: {said}", f"make room{then}")
        if _is(e, REFUSES, REFUSES_WORDS) or (_is(e, RIGHTS) and folder is not None and _within(e, folder)):
            return RunError(f"the disk cannot be written to: {said}", f"make it writable{then}")
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _is(error: BaseException, numbers: set[int], words: tuple[str, ...] = ()) -> bool:
    known = isinstance(error, OSError) and error.errno in numbers
    return known or any(text in str(error) for text in words)


def _within(error: BaseException, folder: Path) -> bool:
    names = [getattr(error, name, None) for name in ("filename", "filename2")]
    return any(isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute()) for name in names)


def _said(error: BaseException, folder: Path | None) -> str:
    """What the system says, and of which file or folder."""
    if not isinstance(error, OSError) or not error.strerror:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[-1][:300] if lines else type(error).__name__
        return f"{folder}: {said}" if folder is not None else said
    where = error.filename if error.filename is not None else folder
    return f"{where}: {error.strerror}" if where is not None else error.strerror
