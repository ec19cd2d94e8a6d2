"""A quality gate: is the accuracy at least what was asked for?"""

from dataclasses import asdict, dataclass
from typing import Any

from imgclf.errors import GateError, UserError, did_you_mean
from imgclf.results.metrics import Interval

SIDES: dict[str, str] = {"value": "the accuracy", "low": "the lower end of its interval"}


@dataclass(frozen=True)
class Gate:
    """What was asked for, what was reached, and whether that is enough."""

    at_least: float
    on: str
    reached: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_options(at_least: float | None, on: str | None) -> None:
    """Refuse a gate that cannot be meant, before any image is looked at.

    Raises:
        UserError: for a share outside 0 to 1, an unknown side, or a side without a share.
    """
    if on is not None and on not in SIDES:
        raise UserError(f"--on: there is no '{on}'.{did_you_mean(on, SIDES)}", f"one of {', '.join(SIDES)}")
    if at_least is None:
        if on is not None:
            raise UserError("--on says what --fail-under looks at, and --fail-under is not given", "--fail-under 0.9")
    elif not 0 < at_least <= 1:
        wanted = f"; {at_least:g} % is --fail-under {at_least / 100:g}" if 1 < at_least <= 100 else ""
        raise UserError(f"--fail-under {at_least:g}: an accuracy is above 0 and at most 1{wanted}")


def gate(accuracy: Interval, at_least: float, on: str) -> Gate:
    """Judge an accuracy by its ``value``, or by the ``low`` end of its interval: then chance alone rarely passes it."""
    reached = accuracy.value if on == "value" else accuracy.low
    return Gate(at_least, on, reached, reached >= at_least)


def enforce(found: Gate, accuracy: Interval) -> None:
    """Raise if the gate is not met.

    Raises:
        GateError: with the figure, its interval and what was asked for.
    """
    if found.passed:
        return
    said = f"accuracy {accuracy.value:.4f} ({accuracy.low:.4f}–{accuracy.high:.4f}, n={accuracy.n})"
    raise GateError(
        f"the quality gate is not met: {said}; {SIDES[found.on]} must be at least {found.at_least:g}",
        "look at the worst images: imgclf explain RUN --top-losses 20",
    )
