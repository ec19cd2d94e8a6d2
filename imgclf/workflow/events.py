"""What happens in a run, told as it happens: JSON lines for other programs (``--events``), and trackers.

Whoever listens cannot harm the run: a listener that fails is warned about once and heard no more.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from imgclf.console import Terminal, finite
from imgclf.data.location import keep_out
from imgclf.errors import UserError, first_line
from imgclf.schema import Config

VERSION = 1  # of the events: raised when a field changes its meaning or goes away


class Listener(Protocol):
    """Whoever is told of events; may raise anything."""

    def hear(self, event: dict[str, Any]) -> object:
        """One event: ``version``, ``time``, ``event`` and what belongs to that kind."""

    def close(self) -> object:
        """The run is over."""


@dataclass
class Events:
    """All listeners of one run, by the name the user knows them under."""

    terminal: Terminal = field(default_factory=lambda: Terminal(quiet=True))
    listeners: dict[str, Listener] = field(default_factory=dict)

    def tell(self, event: str, **facts: Any) -> None:
        """Tell everybody what has just happened."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        record = {"version": VERSION, "time": now, "event": event, **finite(facts)}
        for name in list(self.listeners):
            with self._guarded(name):
                self.listeners[name].hear(record)

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Within the block a run happens: tell of the exception that ends it, if one does, and let everybody go."""
        try:
            yield
        except BaseException as e:
            status = "interrupted" if isinstance(e, KeyboardInterrupt) else "failed"
            error = {"type": type(e).__name__, "message": str(e), "hint": getattr(e, "hint", None)}
            self.tell("end", status=status, error=error)
            raise
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close what listens; nobody hears any more."""
        for name in list(self.listeners):
            with self._guarded(name):
                self.listeners.pop(name).close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as e:  # a full disk, a reader gone, a server down, a tracker's own bug: the run goes on
            gone = self.listeners.pop(name, None)
            said = [first_line(e), *filter(None, [getattr(e, "hint", None)])]
            self.terminal.warn(f"{name}: {'; '.join(said)}; the run goes on without it")
            if gone:
                with suppress(Exception):
                    gone.close()


class Lines:
    """Events as JSON lines, each written whole at once; what is in the file already stays."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def hear(self, event: dict[str, Any]) -> None:
        if event["event"] != "step":  # for trackers: thousands of lines nobody would read
            self.stream.write(json.dumps(event, ensure_ascii=True).encode() + b"\n")
            self.stream.flush()

    def close(self) -> None:
        self.stream.close()


def lines(path: Path, cfg: Config, terminal: Terminal) -> Lines:
    """Open a file or pipe for JSON lines. A named pipe nobody reads yet is waited for.

    Raises:
        UserError: for ``-``, a place in the data folder, or one that cannot be written.
    """
    if str(path) == "-":
        raise UserError("--events -: standard output is for the result", "name a file or a pipe, such as /dev/fd/3")
    keep_out(cfg, path, "--events")
    try:
        if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
            terminal.note(f"events: waiting for a program that reads {path}")
            return Lines(path.open("wb"))
        stream = path.open("ab+")
        _end_last_line(stream)
    except OSError as e:
        raise UserError(f"--events {path}: cannot be written: {e.strerror}", "name another file") from e
    return Lines(stream)


def _end_last_line(stream: BinaryIO) -> None:
    """A run that found the disk full may have left half a line."""
    if stream.seekable() and stream.seek(0, os.SEEK_END):
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            stream.write(b"\n")
