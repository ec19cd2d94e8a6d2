import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclf.results.calibration import (
    binary_cross_entropies,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
    softmax,
)


def overconfident(temperature: float, n: int = 8000, c: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``temperature`` times too large for targets that are drawn from what they should say."""
    rng = np.random.default_rng(7)
    honest = rng.normal(size=(n, c)) * 2
    targets = (softmax(honest).cumsum(1) < rng.random((n, 1))).sum(1).clip(max=c - 1)
    return (honest * temperature).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, targets = overconfident(temperature)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(softmax(logits, found), targets) < 0.02


def test_the_temperature_has_the_lowest_loss():
    logits, targets = overconfident(3.0, n=300)
    best = fit_temperature(logits, targets)
    lowest = cross_entropy(logits, targets, best)
    assert all(lowest <= cross_entropy(logits, targets, best * factor) for factor in (0.5, 0.98, 1.02, 2))


@given(st.integers(0, 10**6), st.floats(0.05, 20))
@settings(max_examples=30, deadline=None)
def test_softmax_keeps_the_ranking(seed, temperature):
    logits = np.random.default_rng(seed).normal(size=(9, 4)).astype(np.float32) * 30
    probs = softmax(logits, temperature)
    assert probs.dtype == np.float32
    assert probs.sum(1) == pytest.approx(np.ones(9), abs=1e-5)
    assert (probs.argmax(1) == logits.argmax(1)).all()


def test_softmax_survives_huge_logits_and_zero_probabilities():
    assert softmax(np.array([[1e4, -1e4], [1000.0, 1000.0]])).tolist() == [[1, 0], [0.5, 0.5]]
    assert softmax(np.log(np.array([[0.25, 0.75]]))).tolist() == [[0.25, 0.75]]
    assert softmax(np.array([[-np.inf, 0.0]])).tolist() == [[0, 1]]


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_images_leave_the_temperature_alone(n):
    assert fit_temperature(np.ones((n, 3)) * [9.0, 0, 0], np.ones(n, dtype=int)) == 1.0


def test_all_right_does_not_mean_certain():
    targets = np.arange(100) % 2
    timid = np.eye(2)[targets] * 0.5
    found = fit_temperature(timid, targets)
    assert 0.05 < found < 1
    # 101/102: as sure as a hundred images without a mistake allow, and no surer.
    assert softmax(timid, found).max(1).mean() == pytest.approx(101 / 102, abs=1e-3)


def test_all_right_and_sure_already_stays():
    targets = np.arange(100) % 2
    assert fit_temperature(np.eye(2)[targets] * 30, targets) == 1.0


def test_logits_that_say_nothing_leave_the_temperature_alone():
    targets = np.arange(40) % 4
    assert fit_temperature(np.zeros((40, 4)), targets) == 1.0
    assert fit_temperature(np.zeros((40, 1)), np.zeros(40, dtype=int)) == 1.0


def test_all_wrong_ends_at_the_bound():
    targets = np.arange(40) % 2
    assert fit_temperature(np.eye(2)[1 - targets] * 50, targets) == pytest.approx(20, rel=0.01)


def test_images_without_finite_logits_are_passed_over():
    logits, targets = overconfident(2.0, n=500)
    broken = np.vstack([logits, [[np.nan] * 5, [np.inf, 0, 0, 0, 0]]])
    assert fit_temperature(broken, np.append(targets, [0, 1])) == fit_temperature(logits, targets)
    assert fit_temperature(np.full((50, 3), np.nan), np.zeros(50, dtype=int)) == 1.0


def test_calibration_error_of_known_cases():
    sure = np.tile([1.0, 0.0], (10, 1))
    assert expected_calibration_error(sure, np.zeros(10, dtype=int)) == 0
    assert expected_calibration_error(sure, np.ones(10, dtype=int)) == 1
    assert expected_calibration_error(sure, np.arange(10) % 2) == 0.5
    # 0.8 sure and 8 of 10 right: as good as it says.
    honest = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(honest, np.array([0] * 8 + [1] * 2)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(expected_calibration_error(np.zeros((0, 2)), np.zeros(0, dtype=int)))


def test_two_bins_weigh_by_their_images():
    probs = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    # |1 - 0.9| over three images, |0 - 0.6| over one.
    assert expected_calibration_error(probs, np.array([0, 0, 0, 1])) == pytest.approx((3 * 0.1 + 0.6) / 4)


def test_reliability_rows():
    rows = reliability(np.array([[0.9, 0.1], [1.0, 0.0], [0.5, 0.5]]), np.array([0, 1, 0]), bins=2)
    assert [(r["low"], r["high"], r["n"], r["accuracy"]) for r in rows] == [(0, 0.5, 1, 1.0), (0.5, 1.0, 2, 0.5)]
    assert rows[1]["confidence"] == pytest.approx(0.95)
    assert reliability(np.zeros((0, 2)), np.zeros(0, dtype=int)) == []


def several(temperature: float, n: int = 3000, c: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """As ``overconfident``, with several labels an image."""
    rng = np.random.default_rng(8)
    honest = rng.normal(-1, 2, size=(n, c))
    return (honest * temperature).astype(np.float32), (rng.random((n, c)) < sigmoid(honest)).astype(np.int64)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 6.0])
def test_with_several_labels_a_known_temperature_is_recovered(temperature):
    logits, targets = several(temperature)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(temperature, rel=0.06)
    assert fit_temperature(logits, targets.astype(float)) == found
    assert expected_calibration_error(sigmoid(logits, found), targets) < 0.02


def test_with_several_labels_the_safe_values():
    logits, targets = several(2.0, n=500)
    assert fit_temperature(logits[:9], targets[:9]) == 1.0
    assert fit_temperature(np.zeros((40, 4)), np.arange(160).reshape(40, 4) % 2) == 1.0
    broken = np.vstack([logits, [[np.nan] * 4]])
    assert fit_temperature(broken, np.vstack([targets, [[0] * 4]])) == fit_temperature(logits, targets)
    assert fit_temperature(logits[:, :1], targets[:, :1]) == pytest.approx(2, rel=0.2)  # one label or none


def test_with_several_labels_all_right_does_not_mean_certain():
    targets = np.arange(300).reshape(100, 3) % 2
    found = fit_temperature(targets - 0.5, targets)
    assert sigmoid(np.array([[0.5]]), found).item() == pytest.approx(101 / 102, abs=1e-3)
    assert fit_temperature((targets - 0.5) * 60, targets) == 1.0


def test_sigmoid_and_its_loss_survive_huge_logits():
    logits = np.array([[1e4, -1e4, np.inf, -np.inf]])
    assert sigmoid(logits).tolist() == [[1, 0, 1, 0]]
    assert binary_cross_entropies(logits, np.array([[1, 0, 1, 0]])).tolist() == [[0, 0, 0, 0]]
    assert binary_cross_entropies(logits, np.array([[0, 1, 0, 1]]), 2.0).tolist() == [[5000, 5000, np.inf, np.inf]]
    assert np.isnan(sigmoid(np.array([[np.nan]]))).all()


def test_with_several_labels_the_probability_of_a_label_is_measured():
    probs, targets = np.tile([0.1, 0.9], (10, 1)), np.tile([0, 1], (10, 1))
    targets[0] = [1, 0]  # once in ten times otherwise: as good as it says
    assert expected_calibration_error(probs, targets) == pytest.approx(0, abs=1e-9)
    assert [(r["n"], r["accuracy"]) for r in reliability(probs, targets)] == [(10, 0.1), (10, 0.9)]
    assert expected_calibration_error(probs, 1 - targets) == pytest.approx(0.8)
    assert np.isnan(expected_calibration_error(np.zeros((0, 2)), np.zeros((0, 2))))
