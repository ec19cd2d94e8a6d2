"""A block of memory that worker processes share, and how much memory there is."""

import os
import weakref
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np

MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


class Block:
    """Bytes, zero at first, that worker processes share, forked or spawned; freed with the process that made it.

    Args:
        shared: False: for this process alone, without anything of ``/dev/shm``.
    """

    def __init__(self, size: int, shared: bool) -> None:
        self.size = size
        self._memory = SharedMemory(create=True, size=max(1, size)) if shared else None
        self._own = None if shared else np.zeros(size, np.uint8)  # the system gives pages when they are first written
        if self._memory is not None:
            self._free = weakref.finalize(self, _free, self._memory, os.getpid())

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_free"}  # the maker's business

    def view(self, kind: type[np.generic], start: int, n: int) -> np.ndarray:
        """``n`` numbers from byte ``start`` on, to be written to or copied; not to be kept."""
        buffer: Any = self._own if self._memory is None else self._memory.buf
        return np.frombuffer(buffer, kind, n, start)


def _free(memory: SharedMemory, maker: int) -> None:
    if os.getpid() == maker:  # a forked worker ends before the run does
        memory.close()
        memory.unlink()


def available() -> int | None:
    """Bytes of memory that programs can still have, within this container's limit; None where nothing tells."""
    found = [n for n in (_of_machine(), _of_container()) if n is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    for line in _lines(MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_container() -> int | None:
    """What a control group leaves (https://docs.kernel.org/admin-guide/cgroup-v2.html, memory)."""
    limit, used = _lines(CGROUP / "memory.max"), _lines(CGROUP / "memory.current")
    if not limit or not used or not limit[0].isdigit():
        return None
    cached = [int(line.split()[1]) for line in _lines(CGROUP / "memory.stat") if line.startswith("inactive_file ")]
    return max(0, int(limit[0]) - int(used[0]) + sum(cached))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
