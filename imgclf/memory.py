"""Memory that a process has freed: kept for what it allocates a moment later, given back before a fork.

Source: https://man7.org/linux/man-pages/man3/mallopt.3.html, https://man7.org/linux/man-pages/man3/malloc_trim.3.html
"""

import ctypes
import functools
import sys
from typing import Any

# From malloc.h; a limit is an int there.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


@functools.cache
def keep_freed() -> None:
    """Let this process keep the memory it frees, from now on.

    glibc gives what is larger than 32 MB back to the system at once, and the system fills each page with zeros when it
    is touched the next time. A network's feature maps are that large and are made anew in every step: without this a
    tenth of a step's processor time is spent so. Where the C library is another one, it has rules of its own.
    """
    mallopt = _function("mallopt")
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def give_back() -> None:
    """Give what is free now back to the system: for before a fork.

    A forked process shares its parent's pages, free ones too, and whichever of the two writes to one first has it
    copied: several times what a page of zeros costs.
    """
    trim = _function("malloc_trim")
    if trim:
        trim(0)


@functools.cache
def _function(name: str) -> Any:
    """A function of glibc; None where the C library has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
