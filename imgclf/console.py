"""What the user sees: results on stdout, everything for people on stderr.

A ``Terminal`` is made once per command and handed down. Library code gets ``Terminal(quiet=True)`` when nobody gives
one, so that a call from a notebook or a test prints nothing.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from imgclf.errors import UserError

PIPE_WIDTH = 10_000
# What moves a terminal's cursor, renames its window or turns the direction of what follows; and halves of characters,
# which a file's name may have and no UTF-8 can.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

logger = logging.getLogger("imgclf")
logger.addHandler(logging.NullHandler())  # without a run's log file, Python would print warnings a second time


@dataclass(frozen=True)
class Terminal:
    """Both streams of one command.

    Args:
        json_mode: stdout carries exactly one JSON document.
        quiet: nothing on stderr but errors.
    """

    json_mode: bool = False
    quiet: bool = False
    out: Console = field(default_factory=lambda: _console(sys.stdout))
    err: Console = field(default_factory=lambda: _console(sys.stderr))

    @property
    def live(self) -> bool:
        """Whether a display that redraws itself may be used: only on a real terminal."""
        return self.err.is_terminal and not self.err.is_dumb_terminal and not self.quiet

    def note(self, text: str) -> None:
        """A line for the user on stderr, and in the run's log."""
        logger.info(visible(text))
        if not self.quiet:
            self._line(Text(text))

    def warn(self, text: str) -> None:
        """A line the user should not miss."""
        logger.warning(visible(text))
        if not self.quiet:
            self._line(Text.assemble(("warning: ", "bold yellow"), text))

    def show(self, renderable: RenderableType) -> None:
        """A table or panel for people on stderr."""
        if not self.quiet:
            self.err.print(renderable)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[], None]]:
        """A bar that goes away when done; the block gets a function to call after each item. Total None: not known."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
        with Progress(*columns, console=self.err, transient=True, disable=not self.live) as bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)

    def result(self, data: Any, human: RenderableType | None = None) -> None:
        """The command's result: one JSON document, or ``human`` for people.

        On a terminal a string stays as it is, to be copied; what rich renders breaks between words.
        """
        if self.json_mode:
            sys.stdout.write(to_json(data) + "\n")
        elif isinstance(human, str):
            self.out.print(Text(human), soft_wrap=True)
        elif human is not None:
            self.out.print(human, soft_wrap=not self.out.is_terminal)

    def error(self, error: UserError) -> None:
        """What happened and how to mend it; with ``--json`` as a document on stdout."""
        logger.error(visible(error.message))
        if self.json_mode:
            detail = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
            self.result({"error": {**detail, "exit_code": error.exit_code}})
            return
        where = f"process {error.process}: " if error.process else ""
        self._line(Text.assemble(("error: ", "bold red"), where, error.message))
        if error.hint:
            self._line(Text.assemble(("  try: ", "bold"), error.hint))

    def _line(self, text: Text) -> None:
        # On a pipe or in a file a line stays a line, whatever its length.
        self.err.print(text, soft_wrap=not self.err.is_terminal)


def _console(stream: TextIO) -> Console:
    """A console as wide as the terminal; a row on a pipe or in a file stays one line, as `grep` needs it."""
    made = Console(file=stream, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)
    made.push_render_hook(Harmless())
    return made


class Harmless(RenderHook):
    """Shows control characters instead of sending them: names of files and classes may come from anywhere."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Shown(renderable) for renderable in renderables]


@dataclass(frozen=True)
class Shown:
    """What rich renders, control characters in its text as ``\\x1b``; rich's own, which it keeps apart, stay."""

    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self.inner, options):
            yield Segment(text if control else visible(text), style, control)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inner)


def visible(text: str) -> str:
    """The text with its control characters but tabs and line ends written out, and what UTF-8 has no place for."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A plain table: numbers right-aligned, everything else as text."""
    made = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    cells = [list(row) for row in rows]
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) or row[i] is None for row in cells) and bool(cells)
        made.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(cell(value)) for value in row))
    return made


def cell(value: Any) -> str:
    """A value as a person reads it in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 0.01 or abs(value) >= 10_000 else f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of what may be many: ``a, b, c …``."""
    return ", ".join(names[:most]) + " …" * (len(names) > most)


def finite(data: Any) -> Any:
    """``data`` with NaN and infinities as null: JSON has no such numbers."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(k): finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [finite(v) for v in data]
    return str(data) if isinstance(data, Path) else data


def to_json(data: Any) -> str:
    """One line of JSON for stdout; in ASCII where that is not UTF-8, whose stand-ins for letters are no JSON."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(finite(data), ensure_ascii=not utf8)


class _Log(logging.FileHandler):
    """A log that a full disk silences: what the run writes beside it tells of the disk, and tells how to go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def log_to(path: Path) -> logging.Handler:
    """Send notes and warnings to a file as well, with times. The caller closes the handler."""
    handler = _Log(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler
