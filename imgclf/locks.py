"""One process at a time in a run folder. The system takes the lock back when its holder dies, however it dies."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from imgclf import ranks

LOCK = ".lock"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock within the block, which gets False if another process holds it.

    Where several processes train together the first holds it for all.
    """
    if not ranks.is_first():
        yield True
        return
    with (folder / LOCK).open("a+b") as stream:
        yield _take(stream)


def is_held(folder: Path) -> bool:
    """Whether another process holds the folder's lock."""
    if not (folder / LOCK).exists():
        return False
    try:
        with held(folder) as free:
            return not free
    except OSError:  # somebody else's folder, or a read-only one: it cannot be told
        return False


def _take(stream: IO[bytes]) -> bool:
    """Lock an open file; its closing unlocks it. ``lockf``, as worker processes must not inherit the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False  # held
        if e.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise  # otherwise a file system without locks: go on without
    return True
