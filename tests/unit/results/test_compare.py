"""The paired test between models, and which one is recommended."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from imgclf.results.compare import Candidate, compare, holm, mcnemar

counts = st.integers(0, 200)


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    """By its definition, in whole numbers: twice the smaller tail of a fair coin."""
    n, fewer = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)


def test_mcnemar_of_thousands_of_images_neither_overflows_nor_is_zero():
    assert 0 < mcnemar(900, 1100) < 1e-4
    assert mcnemar(30_000, 30_000) == 1.0


def test_holm_by_hand():
    # 0.01 x 3; max(0.03, 0.03 x 2); max(0.06, 0.04 x 1)
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for i, j in product(range(len(p_values)), repeat=2):
        assert p_values[i] >= p_values[j] or adjusted[i] <= adjusted[j]


def candidate(name: str, params: int, wrong: range | list[int], n: int = 200) -> Candidate:
    right = np.ones(n, dtype=bool)
    right[list(wrong)] = False
    return Candidate(name, params, right)


def test_the_smallest_that_is_not_significantly_worse_is_recommended():
    small, middle, large = candidate("s", 1, range(40)), candidate("m", 2, range(12)), candidate("l", 3, range(8, 18))
    found = compare([large, small, middle])
    assert (found.best, found.recommended) == ("l", "m")
    assert "not significantly worse than the best, l" in found.why
    assert "only l has 8 right and only this one 6" in found.why
    pair = next(p for p in found.pairs if {p.a, p.b} == {"l", "m"})
    assert (pair.only_a, pair.only_b) == (8, 6)
    assert pair.p_value == pytest.approx(binomtest(8, 14).pvalue)
    assert len(found.pairs) == 3


def test_the_best_is_recommended_when_every_smaller_one_is_significantly_worse():
    found = compare([candidate("s", 1, range(40)), candidate("l", 3, range(3))])
    assert found.recommended == "l"
    assert "every smaller model is significantly worse" in found.why


def test_without_any_difference_the_smallest_wins_and_at_equal_size_the_lower_error():
    assert compare([candidate("l", 3, [1]), candidate("s", 1, [1])]).recommended == "s"
    assert compare([candidate("a", 1, [1, 2]), candidate("b", 1, [3])]).recommended == "b"


def test_correction_is_for_all_pairs():
    """Alone the difference would count; among three pairs it does not."""
    small, large = candidate("s", 1, range(9)), candidate("l", 3, range(8, 10))
    alone = compare([small, large])
    assert alone.pairs[0].p_value < 0.05
    assert alone.recommended == "l"
    third = candidate("x", 9, range(100, 104))
    assert compare([small, large, third]).recommended == "s"


def test_the_reason_says_so_when_nothing_is_smaller():
    right = np.ones(20, bool)
    verdict = compare([Candidate("small", 1, right), Candidate("large", 2, ~right)])
    assert verdict.recommended == "small"
    assert verdict.why.endswith("no other model is smaller")
