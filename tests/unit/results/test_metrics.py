import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from imgclf.results import metrics


def sample(seed: int, n: int, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Random probabilities (n, c) and targets (n,), some classes without images."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(c), n).astype(np.float32)
    return probs, rng.integers(0, rng.integers(1, c + 1), n)


samples = st.builds(sample, st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 8))
quick = settings(max_examples=40, deadline=None)


@given(st.integers(1, 3000), st.data())
@quick
def test_wilson_is_scipys(n, data):
    successes = data.draw(st.integers(0, n))
    level = data.draw(st.sampled_from([0.8, 0.95, 0.99]))
    ours = metrics.wilson(successes, n, level)
    theirs = binomtest(successes, n).proportion_ci(level, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert ours.value == successes / n
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_wilson_of_nothing_knows_nothing():
    nothing = metrics.wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)
    assert set(nothing.to_dict()) == {"value", "low", "high", "n"}


@given(samples)
@quick
def test_accuracies_are_sklearns(given_sample):
    probs, targets = given_sample
    c = probs.shape[1]
    assert metrics.accuracy(probs, targets).value == pytest.approx(sk.accuracy_score(targets, probs.argmax(1)))
    k = min(3, c - 1)
    if c > 2:
        theirs = sk.top_k_accuracy_score(targets, probs, k=k, labels=range(c))
        assert metrics.top_k_accuracy(probs, targets, k).value == pytest.approx(theirs)
    assert metrics.top_k_accuracy(probs, targets, 1) == metrics.accuracy(probs, targets)
    assert metrics.top_k_accuracy(probs, targets, c).value == 1


@given(samples)
@quick
def test_losses_and_f1_are_sklearns(given_sample):
    probs, targets = given_sample
    exact = probs / probs.sum(1, keepdims=True, dtype=float)  # scikit-learn warns of float32 rounding
    theirs = sk.log_loss(targets, exact, labels=range(probs.shape[1]))
    assert metrics.losses(probs, targets).mean() == pytest.approx(theirs, rel=1e-5)
    macro = sk.f1_score(targets, probs.argmax(1), average="macro")
    assert metrics.macro_f1_interval(probs, targets).value == pytest.approx(macro)


@given(samples)
@quick
def test_per_class_agrees_with_the_confusion_matrix(given_sample):
    probs, targets = given_sample
    c = probs.shape[1]
    counts = np.array(metrics.confusion(probs, targets, range(c)))
    assert counts.shape == (c, c)
    assert counts.sum() == len(targets)
    for i, row in enumerate(metrics.per_class(probs, targets, [f"c{i}" for i in range(c)])):
        true, of_class, predicted = counts[i, i], counts[i].sum(), counts[:, i].sum()
        recall, precision = true / max(of_class, 1), true / max(predicted, 1)
        assert row["class"] == f"c{i}"
        assert row["n"] == of_class
        assert (row["recall"], row["precision"]) == pytest.approx((recall, precision))
        assert row["f1"] == pytest.approx(2 * true / max(of_class + predicted, 1))


def test_confusion_has_the_truth_in_rows():
    probs = np.eye(3)[[1, 1, 2]]
    assert metrics.confusion(probs, np.array([0, 0, 2]), range(3)) == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_a_loss_is_finite_where_the_probability_is_zero():
    losses = metrics.losses(np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32), np.array([1, 0]))
    assert losses.tolist() == pytest.approx([87.3365, 0.0], abs=1e-3)


def test_most_confused_leaves_out_the_diagonal_and_the_rare():
    counts = np.array([[9, 1, 0], [3, 9, 0], [0, 2, 9]])
    targets, chosen = (np.repeat(side, counts.ravel()) for side in np.indices((3, 3)).reshape(2, -1))
    pairs = metrics.most_confused(np.eye(3)[chosen], targets, ["a", "b", "c"], least=2)
    assert pairs == [{"truth": "b", "predicted": "a", "n": 3}, {"truth": "c", "predicted": "b", "n": 2}]
    assert len(metrics.most_confused(np.eye(3)[chosen], targets, ["a", "b", "c"])) == 3
    assert metrics.most_confused(np.eye(3), np.arange(3), ["a", "b", "c"]) == []


def test_the_classes_most_confused_come_first_then_those_with_most_images():
    pairs = [{"truth": "d", "predicted": "b", "n": 3}, {"truth": "a", "predicted": "d", "n": 1}]
    assert metrics.confused_classes(pairs, [1, 1, 9, 1, 5], "abcde", 2) == [1, 3]
    assert metrics.confused_classes(pairs, [1, 1, 9, 1, 5], "abcde", 4) == [0, 1, 2, 3]
    assert metrics.confused_classes([], [1, 1, 9, 1, 5], "abcde", 2) == [2, 4]


def test_of_equal_probabilities_the_first_classes_rank_first():
    probs = np.full((3, 4), 0.25)
    assert metrics.top_k_accuracy(probs, np.array([0, 1, 2]), 2).value == pytest.approx(2 / 3)


def test_the_confusion_of_some_classes_is_that_part_of_the_whole():
    probs, targets = sample(0, 200, 6)
    whole = np.array(metrics.confusion(probs, targets, range(6)))
    np.testing.assert_array_equal(metrics.confusion(probs, targets, [1, 4]), whole[np.ix_([1, 4], [1, 4])])


def test_results_are_plain_numbers():
    probs, targets = sample(0, 20, 3)
    row = metrics.per_class(probs, targets, list("abc"))[0]
    assert {type(value) for value in row.values()} == {str, int, float}
    assert type(metrics.confusion(probs, targets, range(3))[0][0]) is int
    assert type(metrics.accuracy(probs, targets).value) is float


@given(samples, st.integers(0, 99))
@quick
def test_weighted_macro_f1_is_sklearns_of_the_resample(given_sample, seed):
    probs, targets = given_sample
    n = len(targets)
    drawn = np.random.default_rng(seed).integers(n, size=n)
    one = np.eye(probs.shape[1])
    images, given_, there = np.bincount(drawn, minlength=n), one[probs.argmax(1)], one[targets]
    ours = metrics.mean_f1(images @ (given_ * there), images @ (given_ + there))
    assert ours == pytest.approx(sk.f1_score(targets[drawn], probs[drawn].argmax(1), average="macro"))


def test_the_interval_of_macro_f1_is_scipys():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, 150)
    probs = (0.4 * np.eye(4)[targets] + rng.dirichlet(np.ones(4), 150)).astype(np.float32)
    found = metrics.macro_f1_interval(probs, targets)

    def statistic(i):
        return sk.f1_score(targets[i], probs[i].argmax(1), average="macro")

    theirs = bootstrap(
        (np.arange(150),), statistic, n_resamples=1000, vectorized=False, method="percentile"
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert found.low < found.value < found.high
    assert metrics.macro_f1_interval(probs, targets) == found  # seeded


def test_bootstrap_of_nothing_is_no_number():
    assert np.isnan(metrics.bootstrap(lambda _: math.nan, 5)).all()


def test_few_images_are_named():
    assert metrics.few_images("abc", [0, 9, 10], "classes") == [
        "1 of 3 classes have fewer than 10 images, marked few: b (9)"
    ]
    assert metrics.few_images("abc", [0, 10, 10], "classes") == []
