"""The same picture on both sides of a split, or under two labels; and how to keep it on one side."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from imgclf.data import split
from imgclf.data.alike import Alike
from imgclf.data.samples import Sample, Samples
from imgclf.data.split import Dataset
from imgclf.schema import Config

HELD = ("valid", "test")


@dataclass(frozen=True)
class Divided:
    """A split, and what ``data.on_leak: fix`` did for it.

    Attributes:
        dropped: Training images left out because the data itself holds the same picture out.
        kept_together: Groups of alike images that were given to one side as a whole.
    """

    dataset: Dataset
    dropped: tuple[str, ...] = ()
    kept_together: int = 0


def rule(cfg: Config) -> str:
    """``warn``, ``fix`` or ``fail``."""
    return cfg.data.on_leak


def find(dataset: Dataset, alike: Alike) -> list[dict[str, str]]:
    """One entry for each validation or test image whose picture is also in training: with a file of training, and
    whether it is the same (``exact``) or nearly (``near``)."""
    side = {s.path: str(s.split) for part in (dataset.train, dataset.valid, dataset.test) for s in part}
    train = [next((p for p in files if side.get(p) == "train"), "") for files in alike.pictures]
    held = [[p for p in files if side.get(p) in HELD] for files in alike.pictures]
    partner = {p: (own, "exact") for own, files in zip(train, held, strict=True) if own for p in files}
    for a, b in _crossing(alike.near, train, held):
        for p in held[b]:
            partner.setdefault(p, (train[a], "near"))
    return [{"train": own, "valid": p, "kind": kind} for p, (own, kind) in sorted(partner.items())]


def _crossing(pairs: np.ndarray, train: list[str], held: list[list[str]]) -> Iterable[tuple[int, int]]:
    """Pairs of pictures (one with a file in training, one with a file held out), either way round."""
    in_train, in_held = (np.array([bool(x) for x in own], dtype=bool) for own in (train, held))
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return [(a, b) for a, b in both[in_train[both[:, 0]] & in_held[both[:, 1]]].tolist()]


def conflicts(samples: Samples, alike: Alike) -> list[dict[str, object]]:
    """Groups of files with the same or nearly the same picture under different labels: ``paths, labels, kind``."""
    labels = {s.path: s.labels for s in samples.items}
    found = []
    for kind, groups in (("exact", alike.exact), ("near", alike.nearly)):
        for group in groups:
            if len({frozenset(labels[p]) for p in group}) > 1:
                found.append({"paths": group, "labels": [list(labels[p]) for p in group], "kind": kind})
    return found


def divide(cfg: Config, samples: Samples, alike: Alike, fix: bool) -> Divided:
    """Split the samples; with ``fix`` so that no picture is on both sides.

    Where the split is drawn, groups of alike images are drawn as a whole. Where the data says who is held out, that
    stays as it is, so that figures compare with those of others; the copies in training are left out.

    Raises:
        DataError: as ``split.split``.
    """
    if not fix:
        return Divided(split.split(cfg, samples))
    together = replace(samples, items=_joined(samples.items, alike.groups))
    dropped: set[str] = set()
    dataset = split.split(cfg, together)
    while leaking := _training_files(find(dataset, alike), alike, dataset):
        dropped |= leaking
        dataset = split.split(cfg, replace(together, items=tuple(s for s in together.items if s.path not in dropped)))
    drawn = not any(s.split == "valid" for s in samples.items) and not dataset.reused
    return Divided(dataset, tuple(sorted(dropped)), len(alike.groups) if drawn else 0)


def _training_files(leaks: list[dict[str, str]], alike: Alike, dataset: Dataset) -> set[str]:
    """The training images of every group that leaks."""
    held = {leak["valid"] for leak in leaks}
    if not held:
        return set()
    train = {s.path for s in dataset.train}
    return {path for group in alike.groups if held & set(group) for path in group if path in train}


def _joined(items: tuple[Sample, ...], groups: list[list[str]]) -> tuple[Sample, ...]:
    """Samples with groups that hold all alike images together; groups the data names stay whole, and may be joined."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    own = {s.path: f"group {s.group}" for s in items if s.group}
    for group in groups:
        first, *others = [top(own.get(path, path)) for path in group]
        for other in others:
            parent[top(other)] = top(first)
    named = {path for group in groups for path in group} | set(own)
    return tuple(replace(s, group=top(own.get(s.path, s.path))) if s.path in named else s for s in items)
