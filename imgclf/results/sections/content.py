"""What a report is made of, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of an image.

    Attributes:
        data: A JPEG.
        alt: What it shows, in words.
    """

    data: bytes
    alt: str


@dataclass(frozen=True)
class Confused:
    """A kind of mistake, with some of its images."""

    truth: str
    predicted: str
    n: int
    images: list[Thumbnail]


@dataclass(frozen=True)
class Worst:
    """An image with a high loss: itself, and where in it the network looked.

    Attributes:
        row: Of the evaluation's ``top_losses``.
        views: Each under its caption, such as "speaks for cat".
    """

    row: dict[str, Any]
    views: list[tuple[str, Thumbnail]]


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
        command: Repeats the run; ``later`` those that went on with it, in order.
        config: The run's own configuration, which repeats it from anywhere.
        plan: Phases, steps and rates, as the manifest has them.
        rates: Each learning rate that was chosen, with the reason.
        decisions: What else was decided for the user, each with its reason and the key that decides otherwise.
        confused: The commonest mistakes, with images.
        worst: Images with the highest loss.
        slices: As ``slices.slices`` gives them, with ``note`` for what else is to be said.
        checks: What the check of the data found, as the manifest has it.
        previous: The run before this one in the same folder.
        changes: The keys that changed since, with the value before and now; None: not known.
    """

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    evaluation: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    command: str = ""
    later: list[str] = field(default_factory=list)
    config: str = ""
    plan: dict[str, Any] | None = None
    rates: list[tuple[str, str]] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    confused: list[Confused] = field(default_factory=list)
    worst: list[Worst] = field(default_factory=list)
    slices: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    previous: str | None = None
    changes: dict[str, list[Any]] | None = None

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return "mAP" in (self.evaluation or {})

    def plot(self, name: str) -> Path | None:
        """The picture of that name, if it is there."""
        return next((path for path in self.plots if path.stem == name and path.is_file()), None)
