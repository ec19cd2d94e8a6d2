"""Draw a validation split: stratified, in groups, or in folds; the seed decides, never the order of the images."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar

from imgclf.data.samples import Sample

Label = TypeVar("Label", str, int)
Unit = list[Sample]  # what stays together: the images of a group, or one image


def hold_out(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """Give every sample without a split one of ``train`` and ``valid``; each has one label.

    Stratified, each class with two or more images has at least one on both sides, and its share is within one image of
    ``valid_pct``. A class never ends up in validation alone. Same seed and samples, same split, in any order.
    """
    free, fixed = _free_and_fixed(items)
    classes: dict[str, list[Sample]] = defaultdict(list)
    for s in free:
        classes[s.label if stratify else ""].append(s)
    chosen: set[str] = set()
    for name, members in classes.items():
        chosen |= _draw(members, _share(len(members), valid_pct), f"{seed}/{name}")
    return _assign([[s] for s in free], chosen) + fixed


def hold_out_multi(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """As ``hold_out``, for any number of labels an image.

    Stratified, labels are served from the rarest to the most frequent, each from the images no rarer label has placed
    (after Sechidis et al. 2011, "On the stratification of multi-label data"); images without a label come last.
    """
    free, fixed = _free_and_fixed(items)
    classes: dict[str, list[Sample]] = defaultdict(list)
    for s in free:
        for label in (s.labels or ("",)) if stratify else ("",):
            classes[label].append(s)
    placed: dict[str, bool] = {}
    for name, members in sorted(classes.items(), key=lambda c: (c[0] == "", len(c[1]), c[0])):
        waiting = [s for s in members if s.path not in placed]
        missing = _share(len(members), valid_pct) - sum(placed.get(s.path, False) for s in members)
        held = _draw(waiting, max(0, min(missing, len(waiting))), f"{seed}/{name}")
        placed |= {s.path: s.path in held for s in waiting}
    return _assign([[s] for s in free], {path for path, held in placed.items() if held}) + fixed


def hold_out_groups(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """As ``hold_out``, with the images of a group on one side; shares are as near as whole groups allow.

    Groups are taken from the largest to the smallest, each where it brings the labels' shares nearer to ``valid_pct``.
    """
    free, fixed = _free_and_fixed(items)
    units = _largest_first(_units(free), seed)
    counts = [_counts(unit, stratify) for unit in units]
    total = sum(counts, Counter())
    held: Counter[str] = Counter()
    taken: set[int] = set()

    def fits(i: int) -> bool:
        return all(total[x] - held[x] - n > 0 for x, n in counts[i].items())

    def gain(i: int) -> float:
        return sum(n * (2 * (total[x] * valid_pct - held[x]) - n) / total[x] for x, n in counts[i].items())

    def take(i: int) -> None:
        taken.add(i)
        held.update(counts[i])

    for i in range(len(units)):
        if fits(i) and gain(i) > 0:
            take(i)
    for i in reversed(range(len(units))):  # the smallest group of each class that has nothing held out yet
        if i not in taken and fits(i) and any(not held[x] for x in counts[i]):
            take(i)
    return _assign(units, {s.path for i in taken for s in units[i]}) + fixed


def fold(items: Iterable[Sample], folds: int, number: int, stratify: bool, seed: int) -> list[Sample]:
    """Fold ``number`` (from 1) of ``folds`` validates, the others train.

    Over all folds each image validates exactly once, in its group if it has one. Exception: what holds the only images
    of a class always trains. Each unit goes to the fold with the fewest images of its rarest label.
    """
    free, fixed = _free_and_fixed(items)
    grouped = any(s.group for s in free)
    units = _largest_first(_units(free), seed)
    part = spread([_counts(unit, stratify) for unit in units], [len(unit) for unit in units], folds, grouped)
    chosen = {s.path for unit, f in zip(units, part, strict=True) if f == number - 1 for s in unit}
    return _assign(units, chosen) + fixed


def spread(counts: Sequence[Counter[Label]], sizes: Sequence[int], folds: int, grouped: bool) -> list[int]:
    """The fold, from 0, of each unit: the one with the fewest images of its rarest label so far, then with the fewest.

    Args:
        counts: Of each unit, how often it has which label.
        sizes: How many images each unit has.
        grouped: Place the largest units first, else those of the rarest label.
    """
    total: Counter[Label] = Counter()
    for count in counts:
        total.update(count)
    rarest = [min(count, key=lambda x: (total[x], x)) for count in counts]
    order = sorted(range(len(counts)), key=lambda i: -sizes[i] if grouped else total[rarest[i]])
    filled: list[Counter[Label]] = [Counter() for _ in range(folds)]
    held = [0] * folds
    part = [0] * len(counts)
    for i in order:
        name = rarest[i]
        part[i] = best = min(range(folds), key=lambda f: (filled[f][name], held[f], f))
        filled[best].update(counts[i])
        held[best] += sizes[i]
    return part


def _free_and_fixed(items: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Those a validation split may take from, in one order; and those the data has placed in another."""
    free = sorted((s for s in items if s.split is None or s.split == "train"), key=attrgetter("path"))
    return free, [s for s in items if s.split is not None and s.split != "train"]


def _units(free: Sequence[Sample]) -> list[Unit]:
    units: dict[tuple[bool, str], Unit] = defaultdict(list)
    for s in free:
        units[(True, s.group) if s.group else (False, s.path)].append(s)
    return list(units.values())


def _largest_first(units: list[Unit], seed: int) -> list[Unit]:
    mixed = sorted(units, key=lambda unit: unit[0].path)
    random.Random(f"{seed}/units").shuffle(mixed)
    return sorted(mixed, key=len, reverse=True)


def _counts(unit: Unit, stratify: bool) -> Counter[str]:
    """Images by label; those without a label, or all without stratification, count as one class."""
    return Counter(label for s in unit for label in ((s.labels or ("",)) if stratify else ("",)))


def _share(n: int, valid_pct: float) -> int:
    """How many of ``n`` to hold out: at least one on both sides, and a single one trains."""
    return min(max(1, round(n * valid_pct)), n - 1)


def _draw(members: list[Sample], n: int, seed: str) -> set[str]:
    return {s.path for s in random.Random(seed).sample(members, n)}


def _assign(units: list[Unit], chosen: set[str]) -> list[Sample]:
    """Samples with their split; a unit that holds all images of a class returns to training."""
    staying = {label for unit in units for s in unit if s.path not in chosen for label in s.labels}
    back: set[str] = set()
    for unit in reversed(units):
        own = {label for s in unit for label in s.labels}
        if not own <= staying:
            back |= {s.path for s in unit}
            staying |= own
    free = sorted((s for unit in units for s in unit), key=attrgetter("path"))
    return [replace(s, split="valid" if s.path in chosen and s.path not in back else "train") for s in free]
