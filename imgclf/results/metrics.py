"""Arrays in, numbers out.

Letters in the shapes: N images, C classes. ``probs`` (N, C) rows sum to 1; ``targets`` (N,) are class
numbers; the prediction is the most probable class (the first of several equal ones).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from imgclf.console import some
from imgclf.results.thresholds import decide

FEW_IMAGES = 30  # below, an interval is too wide to say much
FEW_OF_CLASS = 10  # below, the figures of one class say next to nothing: one image more or less is a tenth
RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A proportion with its confidence interval; all but ``n``, the number of images, from 0 to 1."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for ``successes`` out of ``n`` (Wilson 1927).

    Unlike value ± 1.96 standard errors it stays within 0 to 1 and keeps a width when all or none succeed.
    With n = 0 nothing is known: the value is NaN, the interval 0 to 1.
    """
    if n == 0:
        return Interval(nan, 0.0, 1.0, 0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # Exact ends: rounding would leave 1e-17 where nothing succeeded.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high, n)


def right(probs: np.ndarray, targets: np.ndarray, at: Sequence[float] | None = None) -> np.ndarray:
    """Which images (N,) bool are answered rightly; with several labels an image, targets (N, C), all of its labels.

    Args:
        at: With several labels: C thresholds; None: 0.5 each.
    """
    found: np.ndarray = probs.argmax(1) == targets if targets.ndim == 1 else (decide(probs, at) == (targets > 0)).all(1)
    return found


def accuracy(probs: np.ndarray, targets: np.ndarray) -> Interval:
    """The share of images whose most probable class is the right one."""
    return wilson(int(right(probs, targets).sum()), len(targets))


def top_k_accuracy(probs: np.ndarray, targets: np.ndarray, k: int = 5) -> Interval:
    """The share of images whose class is among the ``k`` most probable ones (top-k accuracy)."""
    given = probs[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(probs.shape[1]) < targets[:, None]  # of equal ones the first classes rank first
    rank = (probs > given).sum(1) + ((probs == given) & earlier).sum(1)
    return wilson(int((rank < k).sum()), len(targets))


def per_class(probs: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class: ``class``, ``n`` images, ``precision``, ``recall``, ``f1``; 0.0 where undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(targets, probs.argmax(1), labels=range(len(classes)), zero_division=0)
    return [
        {"class": name, "n": int(n), "precision": float(p), "recall": float(r), "f1": float(f1)}
        for name, p, r, f1, n in zip(classes, *columns, strict=True)
    ]


def recall(row: dict[str, Any]) -> Interval:
    """The recall in a row of ``per_class``, with its interval; NaN of a class without images, which JSON has as 0.0."""
    return wilson(round(row["recall"] * row["n"]), row["n"])


def macro_f1_interval(probs: np.ndarray, targets: np.ndarray) -> Interval:
    """The mean F1 over the classes that occur in these targets or predictions, with its bootstrap interval."""
    answered = probs.argmax(1)
    hit, c = answered == targets, probs.shape[1]

    def of_weighted(images: np.ndarray) -> float:
        there, given = (np.bincount(of, images, c) for of in (targets, answered))
        return mean_f1(np.bincount(targets[hit], images[hit], c), there + given)

    low, high = bootstrap(of_weighted, len(targets))
    return Interval(of_weighted(np.ones(len(targets))), low, high, len(targets))


def mean_f1(tp: np.ndarray, there_and_given: np.ndarray) -> float:
    """The mean F1 of the classes that occur; NaN if none does.

    Args:
        tp: (C,) how often each class was rightly given.
        there_and_given: (C,) how often it is there plus how often it was given.
    """
    occur = there_and_given > 0
    return float((2 * tp[occur] / there_and_given[occur]).mean()) if occur.any() else nan


def bootstrap(
    statistic: Callable[[np.ndarray], float], n: int, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The percentile bootstrap interval of a figure of N images (Efron 1979), from 1,000 seeded resamples.

    Args:
        statistic: The figure, given how often each image is drawn, (N,); resamples it is NaN for are passed over.

    Where every image gives the same, as where all answers are right, so do all resamples, and the interval is a point.
    """
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(RESAMPLES))
    values = [value for value in map(statistic, drawn) if not isnan(value)]
    if not values:
        return nan, nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def few_images(names: Sequence[str], support: Sequence[int], what: str) -> list[str]:
    """A warning, if there are classes whose figures rest on a handful of images; those without any are no matter here.

    Args:
        what: They are: ``classes`` or ``labels``.
    """
    few = [f"{name} ({n})" for name, n in zip(names, support, strict=True) if 0 < n < FEW_OF_CLASS]
    if not few:
        return []
    return [f"{len(few)} of {len(names)} {what} have fewer than {FEW_OF_CLASS} images, marked few: {some(few)}"]


def confusion(probs: np.ndarray, targets: np.ndarray, chosen: Sequence[int]) -> list[list[int]]:
    """Counts of the K ``chosen`` classes, (K, K): row = true class, column = predicted class."""
    from sklearn.metrics import confusion_matrix

    counts: list[list[int]] = confusion_matrix(targets, probs.argmax(1), labels=chosen).tolist()
    return counts


def losses(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy of each image in nats, (N,); at most 87.3, as if 0 were the smallest float32."""
    given = probs[np.arange(len(targets)), targets].astype(np.float64)
    nats: np.ndarray = -np.log(np.clip(given, float(np.finfo(np.float32).tiny), 1.0))
    return nats


def most_confused(
    probs: np.ndarray, targets: np.ndarray, classes: Sequence[str], least: int = 1
) -> list[dict[str, Any]]:
    """The mistakes by kind, commonest first: ``truth``, ``predicted``, ``n`` (no less than ``least``)."""
    predicted = probs.argmax(1)
    wrong = predicted != targets
    pairs, counts = np.unique(targets[wrong] * len(classes) + predicted[wrong], return_counts=True)
    found = [
        {"truth": classes[pair // len(classes)], "predicted": classes[pair % len(classes)], "n": int(n)}
        for pair, n in zip(pairs.tolist(), counts, strict=True)
        if n >= least
    ]
    return sorted(found, key=lambda pair: -pair["n"])


def confused_classes(
    pairs: Sequence[dict[str, Any]], support: Sequence[int], classes: Sequence[str], most: int
) -> list[int]:
    """At most ``most`` class numbers in order: those of the commonest mistakes, then those with most images."""
    number = {name: i for i, name in enumerate(classes)}
    mistaken = (number[pair[side]] for pair in pairs for side in ("truth", "predicted"))
    by_support = sorted(range(len(classes)), key=lambda i: -support[i])
    return sorted(list(dict.fromkeys([*mistaken, *by_support]))[:most])
