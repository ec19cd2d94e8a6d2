"""The parts of a cross-validation over training images: what belongs together is held out together.

A classifier that is judged on other pictures of what it has seen, of the same film, patient or burst of a camera, knows
them by heart, and finds itself far better, and may be far surer, than on new ones.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from imgclf.data import draw
from imgclf.data.samples import Sample

PARTS = 5  # of the probe's cross-validation


def named(items: Sequence[Sample]) -> np.ndarray | None:
    """A number (N,) for the group of each image, its own for an image in none; None where no image is in a group."""
    if not any(s.group for s in items):
        return None
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(s.group or i, len(known)) for i, s in enumerate(items)])


def by_kind(targets: np.ndarray) -> list[np.ndarray]:
    """The numbers of the images of each class, or set of labels, in order; targets (N,) or (N, C)."""
    kind = targets if targets.ndim == 1 else np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    return np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])


def folds(targets: np.ndarray, parts: int, groups: np.ndarray | None = None) -> np.ndarray:
    """The part, 0 to ``parts - 1``, that each image is held out in: (N,).

    The images of a class take turns; with several labels an image all images do. Images of a group are in one part, and
    the groups are spread so that every class is in all parts as evenly as that allows.

    Args:
        targets: Class numbers (N,), or 0 and 1 (N, C).
        groups: The number (N,) of each image's group. Not heeded where most images are of a class, or all of them are,
            that one group alone shows: of them nothing could be held out.
    """
    if groups is None or not _parted(targets, groups):
        part = np.arange(len(targets)) % parts
        if targets.ndim == 1:
            for members in by_kind(targets):
                part[members] = np.arange(len(members)) % parts
        return part
    unit = np.unique(groups, return_inverse=True)[1]
    spread = draw.spread(counted(targets, unit), np.bincount(unit).tolist(), parts, grouped=True)
    return np.asarray(np.array(spread, dtype=np.int64)[unit])


def counted(targets: np.ndarray, unit: np.ndarray) -> list[Counter[int]]:
    """How often each unit, of numbers (N,) from 0 on, has which label; an image without any has one of its own."""
    if targets.ndim == 1:
        image, label = np.arange(len(targets)), targets
    else:
        image, label = np.nonzero(targets)
        bare = np.flatnonzero((targets == 0).all(1))
        image, label = np.append(image, bare), np.append(label, np.full(len(bare), targets.shape[1]))
    counts: list[Counter[int]] = [Counter() for _ in range(int(unit.max(initial=-1)) + 1)]
    for i, name in zip(unit[image].tolist(), label.tolist(), strict=True):
        counts[i][name] += 1
    return counts


def _parted(targets: np.ndarray, groups: np.ndarray) -> bool:
    if targets.ndim == 2:
        return len(np.unique(groups)) > 1
    of_class = np.unique(np.stack([targets, groups]), axis=1)[0]  # once for each group that shows it
    return bool((np.bincount(of_class)[targets] > 1).mean() >= 0.5)
