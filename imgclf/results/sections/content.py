"""What a report is made of, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Content:
    """Everything the sections of a report may show.

    Attributes:
        facts: What was trained on what: names and values, in the order shown.
        evaluation: ``eval/report.json``: ``to_dict()`` of an ``Evaluation`` or ``MultiEvaluation``, and what was added
            to it. None leaves its sections out. Its warnings are shown too.
        history: Rows of ``history.csv``.
        plots: Pictures in the order shown, as they are named by this package; missing ones are passed over.
        warnings: What the reader must know first.
        command: Repeats the run.
    """

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    evaluation: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    command: str = ""

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return "mAP" in (self.evaluation or {})
