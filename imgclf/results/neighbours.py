"""Do training images that follow each other by name show the same things, as a burst or the frames of a film do?

Then a validation split drawn at random has the neighbours of its images in training, and its figures tell how well the
model knows these things again. No two files need to be nearly the same for that, so no comparison of files finds it.
"""

import math
from typing import Any

import numpy as np

from imgclf.data.folds import folds
from imgclf.results.baselines import Frozen, normalised

PARTS = 5
SURE = 3.0  # standard errors between the two counts of mistakes, or it may be chance
MORE = 1.25  # times the mistakes: photographs of many things were at 1.0, series of drawings at 1.3, bursts far above


def find(frozen: Frozen) -> dict[str, Any]:
    """How often the most similar other training image has another label, with and without the neighbours among these.

    Returns:
        ``{"n", "error_with", "error_without", "same_things", "sentence"}``; the sentence is empty where neighbours make
        no difference. Images that are held out together are those of ``imgclf.data.folds``.
    """
    one_by_one, together = _wrong(frozen, np.arange(len(frozen.train))), _wrong(frozen, None)
    more, fewer = int((together & ~one_by_one).sum()), int((one_by_one & ~together).sum())
    clear = more - fewer > SURE * math.sqrt(more + fewer) and together.sum() >= MORE * one_by_one.sum()
    found = {
        "n": len(together), "error_with": float(one_by_one.mean()), "error_without": float(together.mean()),
        "same_things": bool(clear),
    }  # fmt: skip
    return {**found, "sentence": _sentence(found) if clear else ""}


def _wrong(frozen: Frozen, groups: np.ndarray | None) -> np.ndarray:
    """Of each image (N,), whether the most similar image of the other parts has another label, or set of labels."""
    part, x = folds(frozen.targets, PARTS, groups), normalised(frozen.train)
    nearest = np.arange(len(x))
    for k in range(PARTS):
        here, rest = np.flatnonzero(part == k), np.flatnonzero(part != k)
        if len(here) and len(rest):
            nearest[here] = rest[(x[here] @ x[rest].T).argmax(1)]
    differs = (frozen.targets[nearest] != frozen.targets).reshape(len(x), -1)
    return np.asarray(differs.any(1))


def _sentence(found: dict[str, Any]) -> str:
    return (
        "images that follow each other by name show the same things: the most similar other training image has another "
        f"label for {found['error_with']:.1%} of them, and for {found['error_without']:.1%} once neighbours are left "
        "out. The validation images were drawn at random from among such neighbours, so the figures here are too good "
        "for pictures of new things. Name what belongs together (data.group_by), or say yourself what validates"
    )
