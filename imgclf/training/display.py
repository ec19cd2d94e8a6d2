"""How a run looks while it runs: one live view on a terminal, a plain line per epoch elsewhere."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from imgclf.console import Terminal, cell


@dataclass
class Display:
    """The growing table of epochs and, while live, a bar for the batches of the current one.

    Args:
        columns: Names of the table's columns after phase and epoch; the first three are train_loss, valid_loss and the
            metric that decides.
        total_steps: Training steps of all phases together, for the time remaining.
    """

    terminal: Terminal
    columns: list[str]
    total_steps: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> "Display":
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
            TimeRemainingColumn(compact=True), TextColumn("{task.fields[facts]}"),
            console=self.terminal.err, expand=True,
        )  # fmt: skip
        self.task = self.bar.add_task("start", total=max(1, self.total_steps), facts="")
        self.live = None
        if self.terminal.live:
            self.live = Live(self._view(), console=self.terminal.err, refresh_per_second=8, transient=False)
            self.live.start()
        self.started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.bar.update(self.task, visible=False)
            self.live.update(self._table())
            self.live.stop()

    def resume(self, rows: list[dict[str, Any]], steps: int) -> None:
        """Begin with what an earlier process has done."""
        self.rows += rows
        self.bar.update(self.task, advance=steps)

    def training(self, phase: str, epoch: int, epochs: int, loss: float, lr: float, rate: float) -> None:
        """A training step is done. ``loss`` smoothed; ``rate`` in images a second."""
        facts = f"loss {loss:.3f}  lr {lr:.1e}  {rate:.0f} img/s"
        self.bar.update(self.task, advance=1, description=f"{phase} {epoch}/{epochs}", facts=facts)

    def reading(self, done: int, total: int) -> None:
        """The features of a batch are there."""
        self.bar.update(self.task, facts=f"features {done}/{total}")

    def validating(self, done: int, total: int) -> None:
        """A validation batch is done."""
        self.bar.update(self.task, facts=f"validating {done}/{total}")

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done: a row of history.csv."""
        self.rows.append(row)
        if self.live:
            self.live.update(self._view())
        else:
            parts = [f"{row['phase']} {row['epoch']}/{row['epochs']}"]
            parts += [f"{name} {cell(_rounded(row[name]))}" for name in self.columns]
            self.terminal.note("  ".join(parts) + ("  * best so far" if row["best"] else ""))

    def _view(self) -> Group:
        return Group(self._table(), self.bar) if self.rows else Group(self.bar)

    def _table(self) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold")
        made.add_column("phase")
        made.add_column("epoch", justify="right")
        for name in self.columns:
            made.add_column(name, justify="right")
        made.add_column("")
        for row in self.rows:
            values = [cell(_rounded(row[name])) for name in self.columns]
            style = "green" if row["best"] else None
            made.add_row(row["phase"], f"{row['epoch']}/{row['epochs']}", *values, "*" * row["best"], style=style)
        return made


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) and abs(value) >= 0.01 else value
