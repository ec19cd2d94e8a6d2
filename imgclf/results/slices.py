"""Is the model worse on some kinds of images? The error by brightness, size and shape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgclf.results.metrics import Interval, wilson

SHAPES = (  # width by height, from … on
    (0.0, "tall (narrower than 4:5)"),
    (0.8, "about square"),
    (1.25, "wide (5:4 to 8:5)"),
    (1.6, "very wide (8:5 and more)"),
)
FEWEST = 20  # images a slice needs to be marked


@dataclass(frozen=True)
class Looks:
    """What judged images look like, an entry an image.

    Attributes:
        brightness: (N,) mean grey, 0 black to 1 white.
        width: (N,) pixels; ``height`` likewise.
    """

    brightness: np.ndarray
    width: np.ndarray
    height: np.ndarray


def slices(looks: Looks, wrong: np.ndarray) -> dict[str, Any]:
    """``{"error", "rows"}``: the error of all images, and of each slice with its Wilson interval.

    Rows have ``by``, ``slice``, ``error`` (an interval) and ``differs``: ``worse`` or ``better`` where the interval
    does not hold the error of all images, else None. What all images have in common gives no slices.

    Args:
        wrong: (N,) whether the answer is wrong.
    """
    error = _error(wrong)
    by = {
        "brightness": _quarters(looks.brightness, ("darkest", "brightest"), lambda v: f"{100 * v:.0f} %"),
        "shorter side": _quarters(
            np.minimum(looks.width, looks.height), ("smallest", "largest"), lambda v: f"{v:.0f} px"
        ),
        "shape": _shapes(looks.width / looks.height),
    }
    rows = []
    for name, parts in by.items():
        for text, chosen in parts if len(parts) > 1 else []:
            found = _error(wrong[chosen])
            rows.append({"by": name, "slice": text, "error": found.to_dict(), "differs": _differs(found, error.value)})
    return {"error": error.to_dict(), "rows": rows}


def _error(wrong: np.ndarray) -> Interval:
    return wilson(int(wrong.sum()), len(wrong))


def _differs(found: Interval, overall: float) -> str | None:
    if found.n < FEWEST or found.low <= overall <= found.high:
        return None
    return "worse" if found.low > overall else "better"


def _quarters(values: np.ndarray, ends: tuple[str, str], shown: Callable[[float], str]) -> list[tuple[str, np.ndarray]]:
    """Quarters of the images by a value; fewer parts where many images have the same.

    Args:
        ends: What the first and the last are called.
    """
    if len(values) == 0:
        return []
    cuts = np.unique(np.quantile(values, (0.25, 0.5, 0.75), method="higher"))
    cuts = cuts[cuts > values.min()]
    part = np.searchsorted(cuts, values, side="right")
    names = {0: f"{ends[0]}, ", len(cuts): f"{ends[1]}, "}
    found = []
    for i in range(len(cuts) + 1):
        own = values[part == i]
        low, high = shown(own.min()), shown(own.max())
        found.append((f"{names.get(i, '')}{low if low == high else f'{low} to {high}'}", part == i))
    return found


def _shapes(ratios: np.ndarray) -> list[tuple[str, np.ndarray]]:
    part = np.searchsorted([start for start, _ in SHAPES], ratios, side="right") - 1
    return [(name, part == i) for i, (_, name) in enumerate(SHAPES) if (part == i).any()]


def sentence(found: dict[str, Any]) -> str:
    """How to read the marks: some come by chance."""
    n = sum(row["error"]["n"] >= FEWEST for row in found["rows"])
    marked = sum(row["differs"] is not None for row in found["rows"])
    overall = found["error"]["value"]
    return (
        f"The error of all images is {overall:.3f}. {marked} of {n} slices with {FEWEST} images or more are marked: "
        "their 95 % interval does not hold it. About one in twenty would be by chance alone."
    )


def missing(n: int, known: int) -> str:
    """What to say of images whose looks are not known; "" if all are."""
    gone = n - known
    return f"{gone} of {n} judged images could not be read again." if gone else ""
