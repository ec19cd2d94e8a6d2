"""Which files show the same picture: exactly, by every pixel, or nearly."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgclf.data import near, survey
from imgclf.data.inspection import FileCheck, Look


@dataclass(frozen=True)
class Alike:
    """The distinct pictures, the files of each, and which pictures are nearly the same.

    Attributes:
        pictures: The files of each distinct picture, in order; most have one.
        near: Pairs of indices into ``pictures`` (M, 2).
    """

    pictures: tuple[tuple[str, ...], ...]
    near: np.ndarray

    @property
    def exact(self) -> list[list[str]]:
        """Groups of two or more files with the same pixels."""
        return [list(files) for files in self.pictures if len(files) > 1]

    @property
    def nearly(self) -> list[list[str]]:
        """Groups of pictures that look alike, each by the first of its files; linked by one or more others."""
        return [[self.pictures[i][0] for i in group] for group in self._linked()]

    @property
    def groups(self) -> list[list[str]]:
        """All files that are the same or look alike, together; groups of two or more."""
        linked = self._linked()
        inside = {i for group in linked for i in group}
        rest = [list(files) for i, files in enumerate(self.pictures) if len(files) > 1 and i not in inside]
        return [sorted(path for i in group for path in self.pictures[i]) for group in linked] + rest

    def _linked(self) -> list[list[int]]:
        if not len(self.near):
            return []
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        n = len(self.pictures)
        graph = coo_matrix((np.ones(len(self.near), dtype=bool), (self.near[:, 0], self.near[:, 1])), shape=(n, n))
        _, of = connected_components(graph, directed=False)
        members: dict[int, list[int]] = defaultdict(list)
        for i in np.unique(self.near).tolist():
            members[int(of[i])].append(i)
        return list(members.values())


def find(root: Path, checks: Sequence[FileCheck]) -> Alike:
    """Compare all readable files. Full-size decoding is left to the few that need it to be told apart."""
    by_bytes = _grouped(((c.digest, c) for c in checks if c.look), key=lambda c: c.path)
    first = [same[0] for same in by_bytes]
    pairs, correlation = _near_pairs(first)
    first = _with_pixels(root, first, pairs[correlation >= near.SAME])
    classes: dict[Hashable, list[int]] = defaultdict(list)
    for i, check in enumerate(first):
        classes[_picture(check)].append(i)
    files = {key: tuple(sorted(c.path for i in own for c in by_bytes[i])) for key, own in classes.items()}
    order = {key: n for n, key in enumerate(sorted(files, key=lambda k: files[k]))}
    place = np.empty(len(first), dtype=np.int64)
    for key, own in classes.items():
        place[own] = order[key]
    return Alike(tuple(files[key] for key in order), _distinct(place[pairs]))


def _grouped(
    items: Iterable[tuple[Hashable, FileCheck]], key: Callable[[FileCheck], str]
) -> list[tuple[FileCheck, ...]]:
    groups: dict[Hashable, list[FileCheck]] = defaultdict(list)
    for name, check in items:
        groups[name].append(check)
    return [tuple(sorted(group, key=key)) for group in groups.values()]


def _look(check: FileCheck) -> Look:
    assert check.look is not None
    return check.look


def _near_pairs(checks: Sequence[FileCheck]) -> tuple[np.ndarray, np.ndarray]:
    looks = [_look(c) for c in checks]
    index = np.array([i for i, k in enumerate(looks) if near.comparable(k.width, k.height, k.small)], dtype=np.int64)
    if len(index) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32)
    hashes = np.frombuffer(b"".join(looks[i].hash for i in index), dtype=np.uint8).reshape(len(index), -1)
    small = np.frombuffer(b"".join(looks[i].small for i in index), dtype=np.uint8).reshape(len(index), -1)
    pairs, correlation = near.pairs(hashes, small)
    return index[pairs], correlation


def _with_pixels(root: Path, checks: list[FileCheck], similar: np.ndarray) -> list[FileCheck]:
    """The checks, with the hash of all pixels for those that may be the same picture as another of the same size."""
    wanted = set()
    for a, b in similar.tolist():
        if _size(checks[a]) == _size(checks[b]):
            wanted |= {a, b}
    coarse: dict[str, list[int]] = defaultdict(list)
    for i, check in enumerate(checks):
        coarse[_look(check).probe].append(i)
    wanted |= {i for same in coarse.values() if len(same) > 1 for i in same}
    missing = sorted(i for i in wanted if not _look(checks[i]).pixels)
    found = survey.pixel_hashes(root, [checks[i] for i in missing])
    replaced = dict(zip(missing, found, strict=True))
    return [replaced.get(i, check) for i, check in enumerate(checks)]


def _size(check: FileCheck) -> tuple[int, int]:
    return _look(check).width, _look(check).height


def _picture(check: FileCheck) -> Hashable:
    """What equal pictures have in common: all pixels, else at least all bytes."""
    return _look(check).pixels or ("bytes", check.digest)


def _distinct(pairs: np.ndarray) -> np.ndarray:
    """Pairs of different pictures, each once."""
    ordered = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(ordered, axis=0) if len(ordered) else ordered.reshape(0, 2)
