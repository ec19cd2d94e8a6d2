"""The probability from which on a label is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from imgclf.results.thresholds import decide, tune


def f1(probs: np.ndarray, there: np.ndarray, threshold: float) -> float:
    given = probs.astype(np.float64) >= threshold
    return float(2 * (given & (there > 0)).sum() / (given.sum() + there.sum()))


def test_f1_is_that_of_scikit_learn():
    probs, there = np.array([0.9, 0.6, 0.4, 0.3]), np.array([1, 0, 1, 0])
    assert f1(probs, there, 0.35) == pytest.approx(f1_score(there, probs >= 0.35)) == pytest.approx(0.8)


@given(st.integers(0, 10**6), st.sampled_from([3, 20, 1000]))
@settings(max_examples=40, deadline=None)
def test_no_other_threshold_has_a_higher_f1(seed, levels):
    rng = np.random.default_rng(seed)
    probs = ((rng.integers(0, levels, (30, 3)) + 1) / (levels + 1)).astype(np.float32)  # few levels: many are equal
    targets = (rng.random((30, 3)) < rng.random(3)).astype(int)
    found = tune(probs, targets)
    for column, there, threshold in zip(probs.T, targets.T, found, strict=True):
        if 5 <= there.sum() < 30:
            best = max(f1(column, there, t) for t in column.astype(np.float64))
            assert f1(column, there, threshold) == pytest.approx(best)
            assert threshold not in column.astype(np.float64)
        else:
            assert threshold == 0.5


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_decisions_survive_a_small_change_of_every_probability(seed):
    rng = np.random.default_rng(seed)
    probs, targets = (rng.permutation(100).reshape(50, 2) + 1) / 102, rng.integers(0, 2, (50, 2))
    found = tune(probs, targets)
    assert (decide(probs + 1e-4, found) == decide(probs - 1e-4, found)).all()


def test_the_middle_between_neighbours():
    probs = np.array([[0.9], [0.8], [0.7], [0.4], [0.2], [0.1], [0.05]])
    targets = np.array([[1], [1], [1], [1], [1], [0], [0]])
    assert tune(probs, targets) == (pytest.approx(0.15),)


def test_of_equally_good_ones_the_nearest_to_one_half():
    # Below 0.9: 1 of 2 found, all right: F1 2/3. Below 0.3: 2 of 2 found of 4 given: F1 2/3 as well.
    probs = np.array([[0.9], [0.45], [0.4], [0.3], [0.1]])
    targets = np.array([[1], [0], [0], [1], [0]])
    assert tune(probs, targets, least_positives=2) == (pytest.approx(0.675),)
    assert tune(probs - 0.099, targets, least_positives=2) == (pytest.approx(0.576),)


def test_labels_nothing_can_be_learned_about_keep_the_fallback():
    probs = np.linspace(0.1, 0.9, 20)[:, None].repeat(3, 1)
    targets = np.zeros((20, 3), dtype=int)
    targets[:4, 1], targets[:, 2] = 1, 1
    assert tune(probs, targets, fallback=0.3) == (0.3, 0.3, 0.3)
    assert tune(probs, targets, fallback=0.3, least_positives=4)[1] != 0.3
    assert tune(np.zeros((0, 2)), np.zeros((0, 2))) == (0.5, 0.5)
    assert tune(np.zeros((9, 1)), np.arange(9)[:, None] % 2, least_positives=0) == (0.5,)


def test_images_without_an_answer_are_passed_over():
    probs = np.linspace(0.1, 0.9, 20)[:, None]
    targets = (np.arange(20) > 11).astype(float)[:, None]
    broken = np.vstack([probs, [[np.nan]] * 3])
    assert tune(broken, np.vstack([targets, [[0.0]] * 3])) == tune(probs, targets)


def test_a_probability_at_the_threshold_is_given():
    probs = np.array([[0.5, 0.3]], dtype=np.float32)
    assert decide(probs).tolist() == [[True, False]]
    assert decide(probs, (0.6, 0.2)).tolist() == [[False, True]]
    assert decide(probs, (0.5, float(np.float32(0.3)))).tolist() == [[True, True]]
