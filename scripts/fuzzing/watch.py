"""What no case may do: take too long or too much memory, write outside its folder, start a program, ask the network."""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_MEMORY = 4 << 30  # bytes of address space beyond what is in use
MOST_GROWTH = 2 << 30  # bytes of memory that one case may add to the most ever used
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}
CHANGES |= {"os.chmod": 1, "os.chown": 1, "os.utime": 1, "shutil.rmtree": 1, "shutil.move": 2}
NEVER: tuple[str, ...] = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pty.spawn",
    "socket.connect",
)
NEVER += ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "ftplib.connect")


class Watch:
    """Remembers what a case did that no case may do; hooks itself into the interpreter, once, for ever."""

    def __init__(self) -> None:
        self.inside: tuple[str, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def over(self, folder: Path, most_seconds: float) -> Iterator[None]:
        """Raise what was done at the end, even if the code has swallowed an exception."""
        self.seen = []
        self.inside = tuple(os.path.realpath(p) for p in (folder, tempfile.gettempdir()))
        before, start = _most_used(), time.perf_counter()
        try:
            with _timed(most_seconds):
                yield
        finally:
            self.inside = ()
            took, grown = time.perf_counter() - start, _most_used() - before
            if took > most_seconds:
                self.seen.append(f"took longer than {most_seconds} s")
            if grown > MOST_GROWTH:
                self.seen.append(f"took {grown >> 20} MB of memory")
            if self.seen:
                raise RuntimeError("; ".join(dict.fromkeys(self.seen)))

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.inside:
            return
        if event in NEVER:
            self.seen.append(f"{event} {str(arguments[:2])[:200]}")
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITES:
                self._written(path)
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                self._written(path)

    def _written(self, path: Any) -> None:
        if isinstance(path, int) or path == os.devnull:
            return
        whole = os.path.realpath(os.fsdecode(path))
        if "__pycache__" not in whole and not any(whole == p or whole.startswith(p + os.sep) for p in self.inside):
            self.seen.append(f"wrote {whole[:200]}")


def _most_used() -> int:
    """Bytes; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextlib.contextmanager
def _timed(most: float) -> Iterator[None]:
    """An exception when it takes too long."""

    def late(*_: object) -> None:
        raise RuntimeError(f"took longer than {most} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_memory() -> None:
    """Beyond it an allocation fails."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


class Lines:
    """Which lines of the package have run: what says that a case reached something new."""

    def __init__(self, package: Path) -> None:
        self.package = str(package) + os.sep
        self.known: set[tuple[Any, int]] = set()
        self.new = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count those of the block that were never run before, in ``new``."""
        self.new, before = 0, sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: Any, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self.package) else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        place = (frame.f_code, frame.f_lineno)
        if place not in self.known:
            self.known.add(place)
            self.new += 1
        return self._line
