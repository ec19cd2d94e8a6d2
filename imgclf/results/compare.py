"""Which of several models to take: a paired test on the images all of them were judged on.

Two models judged on the same images are compared on the images where one is right and the other wrong (McNemar 1947,
exact form). Unlike two overlapping intervals this uses that both saw the same easy and hard images. With several labels
an image it is right if all of them are.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from imgclf.results.answers import Answer

LEVEL = 0.05
TEST = (
    "exact McNemar test on the images one of two models has right and the other wrong; Holm's correction for all pairs"
)


@dataclass(frozen=True)
class Candidate:
    """One judged model: its parameters, and for each of the N images whether it was right, (N,) bool."""

    name: str
    params: int
    right: np.ndarray

    @property
    def error_rate(self) -> float:
        return float(1 - self.right.mean())


@dataclass(frozen=True)
class Pair:
    """Two models on the same images.

    ``only_a`` images only ``a`` had right, ``only_b`` only ``b``. ``p_value`` is that of the exact McNemar test;
    ``p_holm`` is corrected for the number of pairs (Holm 1979).
    """

    a: str
    b: str
    only_a: int
    only_b: int
    p_value: float
    p_holm: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """All pairs, and the model to take: the smallest that is not significantly worse than the best."""

    pairs: list[Pair]
    best: str
    recommended: str
    why: str


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value, exact: were both equally good, each disagreement would be a fair coin."""
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def flips(a: "dict[str, Answer]", b: "dict[str, Answer]", order: Sequence[str]) -> list[dict[str, str]]:
    """The images of ``order`` that one of two models has right and the other wrong: ``path, target, a, b``."""
    return [
        {"path": path, "target": a[path].target, "a": a[path].pred, "b": b[path].pred}
        for path in order
        if a[path].right != b[path].right
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: each adjusted p-value bounds the chance of any false claim among all of them."""
    adjusted, highest, m = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def compare(candidates: Sequence[Candidate]) -> Verdict:
    """Test every pair and choose.

    Args:
        candidates: Two or more, their ``right`` in the same order of images.
    """
    pairs = _pairs(candidates)
    best = min(candidates, key=lambda c: (c.error_rate, c.params))
    worse = {p.a if p.b == best.name else p.b for p in pairs if best.name in (p.a, p.b) and p.p_holm < LEVEL}
    chosen = min((c for c in candidates if c.name not in worse), key=lambda c: (c.params, c.error_rate))
    return Verdict(pairs, best.name, chosen.name, _why(chosen, best, candidates, pairs))


def _pairs(candidates: Sequence[Candidate]) -> list[Pair]:
    counts = [
        (a.name, b.name, int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum()))
        for a, b in combinations(candidates, 2)
    ]
    p_values = [mcnemar(only_a, only_b) for _, _, only_a, only_b in counts]
    return [Pair(*facts, p, adj) for facts, p, adj in zip(counts, p_values, holm(p_values), strict=True)]


def _why(chosen: Candidate, best: Candidate, candidates: Sequence[Candidate], pairs: Sequence[Pair]) -> str:
    n = len(best.right)
    if chosen is best:
        lowest = f"lowest error of all ({best.error_rate:.4f} on {n} images), and "
        if all(best.params <= c.params for c in candidates):
            return f"{lowest}no other model is smaller"
        return f"{lowest}every smaller model is significantly worse (exact McNemar tests, Holm's correction, 5 %)"
    pair = next(p for p in pairs if {p.a, p.b} == {chosen.name, best.name})
    theirs, own = (pair.only_b, pair.only_a) if pair.a == chosen.name else (pair.only_a, pair.only_b)
    return (
        f"the smallest not significantly worse than the best, {best.name}: error {chosen.error_rate:.4f} against "
        f"{best.error_rate:.4f}; of {n} images only {best.name} has {theirs} right and only this one {own}, "
        f"p = {pair.p_holm:.2g} (exact McNemar test, Holm's correction for {len(pairs)} "
        f"pair{'s' * (len(pairs) != 1)})"
    )
