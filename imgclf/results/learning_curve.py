"""Would more images help? How the error of the frozen-feature probe falls with the number of training images.

It is the curve of the probe, not of the model, which would have to be trained on each part of the images.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgclf.data import folds
from imgclf.results import baselines
from imgclf.results.baselines import Frozen
from imgclf.results.metrics import RESAMPLES

FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
DRAWS, FEW_DRAWS = 8, 3  # random parts of each size; the second number where a fit takes seconds
LONG_FIT = 5e7  # images x features x classes
LEAST = 20  # training images
MATTERS = 0.2  # the share of the error that a fall would have to be to be worth more images
FEW = 5  # judged images of a class, below which its gain is no matter for advice
NAMED = 3  # classes named in the advice
TOO_FEW = f"fewer than {LEAST} training images"
ONE_CLASS = "the training images are of one class"


@dataclass(frozen=True)
class _Point:
    """One size: for every draw and judged image whether it was right (with several labels the share), (D, M[, C])."""

    images: int
    right: np.ndarray


def curve(frozen: Frozen, strength: float | None, seed: int = 0) -> dict[str, Any]:
    """Fit the probe to random parts of the training images, with as much of every class, and judge each.

    Args:
        strength: C of the logistic regression; None: the vote of nearest neighbours, where that would take too long.

    Returns:
        ``{"figure", "n", "classifier", "points": [{"fraction", "images", "draws", "error", "low", "high"}],
        "half_to_all": {"fall", "low", "high"}, "doubled": {"images", "error", "low", "high"} | null,
        "per_class": [{"class", "n", "n_train", "half", "all", "gain", "low", "high"}], "advice"}``; without figures
        ``{"figure": null, "why"}``.
        Intervals are 95 % bootstrap intervals over judged images and draws; ``half`` and ``all`` are shares of a
        class's images that are right (with several labels: of the decisions on that label).
    """
    why = TOO_FEW if len(frozen.train) < LEAST else ONE_CLASS if _one_class(frozen) else None
    if why or not len(frozen.truth):
        return {"figure": None, "why": why or "no image is judged"}
    rng = np.random.default_rng(seed)
    points = {fraction: _point(frozen, fraction, strength, rng) for fraction in FRACTIONS}
    errors = {f: _bootstrap(point.right, np.random.default_rng(seed)) for f, point in points.items()}
    rows = [
        {"fraction": f, "images": p.images, "draws": len(p.right), **_interval(1 - float(p.right.mean()), errors[f])}
        for f, p in points.items()
    ]
    found = {
        "figure": "wrong label decisions" if frozen.multi else "error rate",
        "n": len(frozen.truth),
        "classifier": baselines.NAMES["knn" if strength is None else "logistic_regression"],
        "points": rows,
        "half_to_all": _fall(rows, errors),
        "doubled": _doubled(points, errors),
        "per_class": _per_class(frozen, points[0.5], points[1.0], seed),
    }
    return {**found, "advice": advice(found)}


def _one_class(frozen: Frozen) -> bool:
    return not frozen.multi and len(np.unique(frozen.targets)) < 2


def _point(frozen: Frozen, fraction: float, strength: float | None, rng: np.random.Generator) -> _Point:
    draws = 1 if fraction == 1 else FEW_DRAWS if frozen.train.size * len(frozen.classes) > LONG_FIT else DRAWS
    right = []
    for _ in range(draws):
        part = frozen.subset(draw(frozen.targets, fraction, rng, frozen.groups))
        scores = baselines.nearest(part) if strength is None else baselines.logistic(part, strength)
        given = (scores >= 0.5) == (frozen.truth > 0) if frozen.multi else scores.argmax(1) == frozen.truth
        right.append(given.astype(np.float32))
    return _Point(len(part.train), np.stack(right))


def draw(
    targets: np.ndarray, fraction: float, rng: np.random.Generator, groups: np.ndarray | None = None
) -> np.ndarray:
    """The numbers of a random part of the images, rising: that share of every class, at least one image of each.

    With several labels an image, that share of every set of labels, as far as it goes. Of groups (N,) whole ones, until
    each class, or label, has that share: what more images of the same patients would bring is not the question.
    """
    if groups is not None:
        return _whole_groups(
            np.eye(targets.max() + 1)[targets] if targets.ndim == 1 else targets, fraction, rng, groups
        )
    order = rng.permutation(len(targets))
    shuffled = targets[order]
    if targets.ndim == 2:
        n = max(1, round(fraction * len(targets)))
        places = np.floor((np.arange(n) + rng.random()) * len(targets) / n).astype(int)  # evenly over all sets
        return np.sort(order[np.lexsort(shuffled.T)][places])
    by_class = order[np.argsort(shuffled, kind="stable")]
    parts = np.split(by_class, np.cumsum(np.bincount(targets))[:-1])
    return np.sort(np.concatenate([part[: max(1, round(fraction * len(part)))] for part in parts]))


def _whole_groups(targets: np.ndarray, fraction: float, rng: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    unit = np.unique(groups, return_inverse=True)[1]
    counts = folds.counted(targets, unit)
    every: Counter[int] = Counter()
    for count in counts:
        every.update(count)
    wanted = {label: max(1, round(fraction * n)) for label, n in every.items()}
    drawn, taken = np.zeros(len(counts), dtype=bool), Counter[int]()
    for i in rng.permutation(len(counts)).tolist():
        if any(taken[label] < wanted[label] for label in counts[i]):
            drawn[i] = True
            taken.update(counts[i])
    return np.flatnonzero(drawn[unit])


def _bootstrap(right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Resampled errors (B,): judged images, alike for every size as the seed is, and draws are drawn anew."""
    of_image = right.reshape(*right.shape[:2], -1).mean(2)
    n_draws, n = of_image.shape
    images = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)
    draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws), RESAMPLES).astype(np.float32)
    errors: np.ndarray = 1 - ((draws @ of_image) * images).sum(1) / (n * n_draws)
    return errors


def _interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"error": value, "low": max(0.0, float(low)), "high": float(high)}


def _fall(rows: list[dict[str, Any]], errors: dict[float, np.ndarray]) -> dict[str, float]:
    """How far the error falls from half of the images to all of them."""
    error = {row["fraction"]: row["error"] for row in rows}
    low, high = np.quantile(errors[0.5] - errors[1.0], [0.025, 0.975])
    return {"fall": error[0.5] - error[1.0], "low": float(low), "high": float(high)}


def _doubled(points: dict[float, _Point], errors: dict[float, np.ndarray]) -> dict[str, Any] | None:
    """The error with twice the images, if it goes on as a power of their number (Hestness et al. 2017: it often does).

    The power is fitted to the upper half of the curve and the present error goes on by it. None where an error is 0.
    """
    used = [f for f in FRACTIONS if f >= 0.25]
    sizes = np.log([points[f].images for f in used])
    now = 1 - float(points[1.0].right.mean())
    means = np.array([1 - float(points[f].right.mean()) for f in used])
    if means.min() <= 0 or len(np.unique(sizes)) < len(used):
        return None
    resampled = np.log(np.maximum(np.stack([errors[f] for f in used]), 0.5 / len(points[1.0].right[0])))
    slope = np.polyfit(sizes, np.log(means), 1)[0]
    ends = errors[1.0] * 2 ** np.minimum(np.polyfit(sizes, resampled, 1)[0], 0)
    low, high = np.quantile(ends, [0.025, 0.975])
    images = 2 * points[1.0].images
    return {
        "images": images,
        "error": float(now * 2 ** min(slope, 0)),
        "low": max(0.0, float(low)),
        "high": float(high),
    }


def _per_class(frozen: Frozen, half: _Point, every: _Point, seed: int) -> list[dict[str, Any]]:
    """How much more of each class is right with all of the training images than with half of them."""
    rng, rows, drawn = np.random.default_rng(seed), [], np.empty((RESAMPLES, 0))
    for i, name in enumerate(frozen.classes):
        if frozen.multi:
            before, after = half.right[:, :, i].mean(0), every.right[:, :, i].mean(0)
            n, n_train = int((frozen.truth[:, i] > 0).sum()), int((frozen.targets[:, i] > 0).sum())
        else:
            there = frozen.truth == i
            before, after = half.right[:, there].mean(0), every.right[:, there].mean(0)
            n, n_train = int(there.sum()), int((frozen.targets == i).sum())
        if n == 0:
            continue
        gains = after - before
        if drawn.shape[1] != len(gains):  # of several labels all are of the same images: to draw them anew takes long
            drawn = rng.multinomial(len(gains), np.full(len(gains), 1 / len(gains)), RESAMPLES) / len(gains)
        low, high = np.quantile(drawn @ gains, [0.025, 0.975])
        rows.append(
            {
                "class": name,
                "n": n,
                "n_train": n_train,
                "half": float(before.mean()),
                "all": float(after.mean()),
                "gain": float(gains.mean()),
                "low": float(low),
                "high": float(high),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: -row["gain"])


def advice(found: dict[str, Any]) -> str:
    """One sentence that the figures support."""
    points = {row["fraction"]: row for row in found["points"]}
    half, every, fall, doubled = points[0.5], points[1.0], found["half_to_all"], found["doubled"]
    what = f"the {found['figure']} of the frozen-feature probe"
    if every["error"] == 0:
        return f"With all {every['images']:,} images {what} is 0: nothing here shows that more images would help."
    start = (
        f"Going from half of the training images ({half['images']:,}) to all {every['images']:,} took {what} from "
        f"{half['error']:.3f} to {every['error']:.3f} (fall {fall['fall']:.3f}, 95 % interval {fall['low']:.3f} "
        f"to {fall['high']:.3f})"
    )
    if fall["low"] <= 0 and fall["high"] > MATTERS * every["error"]:
        return f"{start}: the {found['n']:,} images it is judged on cannot tell whether more would help."
    if fall["low"] <= 0:
        return f"{start}: no clear fall, so more images of the same kind are not likely to help much."
    then = (
        f"; twice as many would bring roughly {doubled['error']:.3f} ({doubled['low']:.3f} to {doubled['high']:.3f}, "
        "by a power law)"
        if doubled
        else ""
    )
    # What is always right already has nothing left to gain.
    gaining = [r["class"] for r in found["per_class"] if r["low"] > 0 and r["all"] < 1 and r["n"] >= FEW]
    most = f", most of all of {', '.join(gaining[:NAMED])}" if gaining and len(found["per_class"]) > 2 else ""
    return f"{start}{then}, so more images would help{most}."
