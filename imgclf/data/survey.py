"""Look at all files: from the cache where nothing has changed, else decoded, many at a time."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from imgclf.cores import cores
from imgclf.data.inspection import FileCheck, inspect_file, pixel_hash
from imgclf.data.samples import Sample
from imgclf.data.scan_cache import ScanCache, Stamp, stamp

MAX_THREADS = 16
MEMORY_PIXELS = 64_000_000  # decoded at the same time, 3 to 9 bytes each; a larger picture is decoded alone
CHUNK = 1024  # files between two writes to the cache: what an interrupted check has seen is not lost


class PixelBudget:
    """Lets pictures be decoded at the same time as long as they have no more than ``total`` pixels together."""

    def __init__(self, total: int = MEMORY_PIXELS) -> None:
        self._total, self._free = total, total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        share = min(pixels, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


def inspect(root: Path, samples: Sequence[Sample], done: Callable[[], object] = lambda: None) -> list[FileCheck]:
    """Check every file, in the order given. ``done`` is called after each."""
    cache, found = ScanCache(root), list[FileCheck]()
    budget = PixelBudget()
    with _pool() as pool:
        for start in range(0, len(samples), CHUNK):
            paths = [s.path for s in samples[start : start + CHUNK]]
            stamps = [
                stamp(root / path) for path in paths
            ]  # before reading: a file that changes meanwhile is read anew
            known = cache.get(stamps)

            def one(path: str, before: FileCheck | None) -> FileCheck:
                check = before or inspect_file(root / path, budget)
                done()
                return replace(check, path=path)

            part = list(pool.map(one, paths, known))
            cache.put((s, c) for s, k, c in zip(stamps, known, part, strict=True) if k is None)
            found += part
    return found


def pixel_hashes(root: Path, checks: Sequence[FileCheck]) -> list[FileCheck]:
    """The same checks with the hash of all pixels, for files that were decoded more coarsely."""
    cache, budget = ScanCache(root), PixelBudget()
    stamps: list[Stamp | None] = [stamp(root / c.path) for c in checks]

    def one(check: FileCheck) -> FileCheck:
        assert check.look is not None
        with budget(check.look.width * check.look.height):
            return replace(check, look=replace(check.look, pixels=pixel_hash(root / check.path)))

    with _pool() as pool:
        found = list(pool.map(one, checks))
    cache.put((s, c) for s, c in zip(stamps, found, strict=True) if c.look and c.look.pixels)
    return found


def _pool() -> ThreadPoolExecutor:
    # Threads are enough: Pillow's decoders and hashlib release the interpreter lock (docs/data.md has the figures).
    return ThreadPoolExecutor(max_workers=min(MAX_THREADS, cores()))
