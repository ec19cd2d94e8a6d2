"""What an export costs and gains beside the model it came from: accuracy with its interval, and time."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from imgclf.cores import cores
from imgclf.results import metrics

BATCHES = (1, 32)
MOST_RUNS = 7
MOST_SECONDS = 1.0  # for one size of batch, after the first run


def accuracy(
    expected: np.ndarray, found: np.ndarray, targets: np.ndarray, at: Sequence[float] | None = None
) -> dict[str, Any]:
    """The share of images model and artefact answer rightly, each with its interval; with several labels: all right.

    Args:
        expected: The model's probabilities (N, C); ``found`` those of the artefact.
        targets: Class numbers (N,); with several labels an image rows of 0 and 1 (N, C).
        at: With several labels: C thresholds.

    Returns:
        ``{"model": {"value", "low", "high", "n"}, "export": …, "difference", "lost", "gained"}``: how many images were
        right before and are wrong now, and the other way round.
    """
    before, after = (metrics.right(probs, targets, at) for probs in (expected, found))
    shares = [metrics.wilson(int(right.sum()), len(right)) for right in (before, after)]
    return {
        "model": shares[0].to_dict(),
        "export": shares[1].to_dict(),
        "difference": shares[1].value - shares[0].value,
        "lost": int((before & ~after).sum()),
        "gained": int((after & ~before).sum()),
    }


def latency(run: Callable[[np.ndarray], np.ndarray], side: int) -> dict[str, Any]:
    """Milliseconds for one call with 1 and with 32 images in memory, the median of a few, here and now.

    Args:
        run: uint8 images (N, side, side, 3) to anything.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), side, side, 3), dtype=np.uint8)
    found: dict[str, Any] = {f"batch_{n}": round(_median_ms(run, pixels[:n]), 3) for n in BATCHES}
    return {**found, "side": side, "device": "cpu", "cores": cores()}


def _median_ms(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> float:
    run(images)  # the first call prepares: it is not what the others take
    taken: list[float] = []
    while len(taken) < MOST_RUNS and sum(taken) < MOST_SECONDS:
        start = perf_counter()
        run(images)
        taken.append(perf_counter() - start)
    return 1000 * median(taken)
