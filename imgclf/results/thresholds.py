"""From which probability on a label is given: with several labels an image each label has a threshold of its own.

0.5 makes the fewest wrong decisions if the probabilities can be taken at their word, and for a rare label that often
means never giving it. The threshold with the highest F1 weighs what is missed against what is given wrongly.
"""

from collections.abc import Sequence

import numpy as np

DEFAULT = 0.5


def decide(probs: np.ndarray, thresholds: Sequence[float] | None = None) -> np.ndarray:
    """Which labels are given, (N, C) bool: those whose probability reaches the threshold. None: 0.5 each."""
    # In float64: a threshold rounded up would lose the very image it was tuned on.
    at = np.full(probs.shape[1], DEFAULT) if thresholds is None else np.array(thresholds, dtype=np.float64)
    given: np.ndarray = probs.astype(np.float64) >= at
    return given


def tune(
    probs: np.ndarray, targets: np.ndarray, fallback: float = DEFAULT, least_positives: int = 5
) -> tuple[float, ...]:
    """For each of the C labels the threshold with the highest F1 on these images.

    It lies in the middle between two neighbouring probabilities, or between the lowest and 0. Of several equally good
    ones it is the one nearest 0.5 (the lower of two that are as near).

    Args:
        probs: (N, C). Images with a probability that is no number are passed over.
        targets: (N, C) of 0 and 1.
        fallback: The threshold of labels nothing can be learned about: with fewer than ``least_positives`` images
            that have them, or with all images.
    """
    usable = np.isfinite(probs).all(1)
    probs, targets = probs[usable].astype(np.float64), targets[usable] > 0
    return tuple(
        _best(column, there) if max(least_positives, 1) <= there.sum() < len(there) else fallback
        for column, there in zip(probs.T, targets.T, strict=True)
    )


def _best(probs: np.ndarray, there: np.ndarray) -> float:
    """The threshold of one label; ``there`` (N,) says which images have it, at least one."""
    order = np.argsort(-probs, kind="stable")
    ranked, hits = probs[order], np.cumsum(there[order])
    below = np.append(ranked[1:], 0.0)
    cuts = np.flatnonzero(ranked > below)  # between equal probabilities nothing can be cut
    if not len(cuts):
        return DEFAULT
    f1 = 2 * hits[cuts] / (cuts + 1 + there.sum())
    middles = (ranked[cuts] + below[cuts]) / 2
    best = middles[f1 >= f1.max() - 1e-12]
    return float(min(best, key=lambda middle: (abs(middle - 0.5), middle)))
