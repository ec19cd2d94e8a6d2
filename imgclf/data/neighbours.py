"""Do training images that follow each other by name show the same things, as a burst or the frames of a film do?

No two files need to be nearly the same for that, so no comparison of files finds it. The images' features do: how often
has the most similar other image another label, and how much more often once neighbours are left out?
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgclf.data import folds
from imgclf.data.samples import Sample

SURE = 3.0  # standard errors between the two counts of mistakes, or it may be chance
# Times the mistakes: photographs of many things were at 1.0, series of drawings at 1.4, bursts at 3 and far above.
MORE = 2.0
# Of the mistakes of guessing, at most. Else the classes are of kinds that follow each other by name (odd digits),
# of which one that is held out whole cannot be known. Bursts and series were at 0.5, such kinds at 0.63 and more.
LEARNED = 0.55
# Times the distance of the most similar other image, without neighbours: bursts were at 8 and more, series and kinds at
# 1.0 to 1.3. Of copies even a head that knows little is better than one that is sure of all it was fitted to.
COPIES, LEARNED_OF_COPIES = 2.0, 0.9
MOST = 5_000  # images looked at: the work grows with their square


@dataclass(frozen=True)
class Neighbours:
    """What was found of ``n`` images: the share whose most similar other image has another label.

    Attributes:
        error_with: With their neighbours by name among the others; ``error_without`` without.
        same_things: Neighbours clearly show the same things.
    """

    n: int
    error_with: float
    error_without: float
    same_things: bool


def find(features: np.ndarray, targets: np.ndarray) -> Neighbours:
    """Look at features (N, F) and targets, (N,) or 0 and 1 (N, C), of images in the order of their names."""
    if len(targets) > MOST:  # of each class its first images, for neighbours to stay neighbours
        chosen = np.flatnonzero(_place(targets) < MOST / len(targets))[:MOST]
        features, targets = features[chosen], targets[chosen]
    x = _unit(features)
    dealt, near = _nearest(x, targets, folds.folds(targets, folds.PARTS))
    together, far = _nearest(x, targets, folds.folds(targets, folds.PARTS, stretches(features, targets)))
    more, fewer = int((together & ~dealt).sum()), int((dealt & ~together).sum())
    clear = more - fewer > SURE * math.sqrt(more + fewer) and together.sum() >= MORE * dealt.sum()
    learned = LEARNED_OF_COPIES if np.median(far) >= COPIES * np.median(near) else LEARNED
    guessed = 1 - max(map(len, folds.by_kind(targets))) / len(targets)
    same = bool(clear and together.mean() <= learned * guessed)
    return Neighbours(len(targets), float(dealt.mean()), float(together.mean()), same)


def belonging(features: np.ndarray, targets: np.ndarray, items: Sequence[Sample]) -> np.ndarray | None:
    """What a cross-validation has to hold out together: a number (N,) for each image, as ``folds`` takes them.

    The groups that are named; else stretches of neighbours, where these show the same things; else None.
    """
    groups = folds.named(items)
    if groups is None and find(features, targets).same_things:
        return stretches(features, targets)
    return groups


def stretches(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A number (N,) for the neighbours of each image: its class, or set of labels, is cut into ``PARTS`` stretches.

    Each cut is where two images that follow each other are least alike, as near to an even share as half a stretch, so
    that it parts no burst if it need not.
    """
    x, stretch, begun = _unit(features), np.empty(len(targets), dtype=np.int64), 0
    for members in folds.by_kind(targets):
        for run in np.split(members, _cuts((x[members[1:]] * x[members[:-1]]).sum(1))):
            stretch[run] = begun
            begun += 1
    return stretch


def _cuts(alike: np.ndarray) -> list[int]:
    """The places to cut a row of images, of which each is so much ``alike`` the next."""
    n, cuts = len(alike) + 1, list[int]()
    for even in np.arange(1, folds.PARTS) * n / folds.PARTS:
        half = n / folds.PARTS / 2
        low, high = max(math.ceil(even - half), (cuts[-1] if cuts else 0) + 1), min(math.floor(even + half), n - 1)
        if low <= high:
            cuts.append(low + int(alike[low - 1 : high].argmin()))
    return cuts


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, np.finfo(np.float32).tiny))


def _place(targets: np.ndarray) -> np.ndarray:
    """Where in its class, or set of labels, each image is (N,), from 0 to 1."""
    place = np.empty(len(targets))
    for members in folds.by_kind(targets):
        place[members] = np.arange(len(members)) / len(members)
    return place


def _nearest(x: np.ndarray, targets: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each image (N,): whether the most similar one of the other parts has another label, and how far that is."""
    nearest, distance = np.arange(len(x)), np.zeros(len(x))
    for k in range(folds.PARTS):
        here, rest = np.flatnonzero(part == k), np.flatnonzero(part != k)
        if len(here) and len(rest):
            alike = x[here] @ x[rest].T
            nearest[here] = rest[alike.argmax(1)]
            distance[here] = 1 - alike.max(1)
    differs = (targets[nearest] != targets).reshape(len(x), -1)
    return np.asarray(differs.any(1)), distance
