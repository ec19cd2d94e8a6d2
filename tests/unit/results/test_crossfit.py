import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from imgclf.errors import DataError
from imgclf.results import calibration, thresholds
from imgclf.results.crossfit import cross_fit, halves
from imgclf.results.evaluate import Predictions, evaluate


def single(n: int = 80, strength: float = 2.0) -> Predictions:
    rng = np.random.default_rng(5)
    targets = np.arange(n) % 3
    logits = (3 * (rng.normal(size=(n, 3)) + np.eye(3)[targets] * strength)).astype(np.float32)
    temperature = calibration.fit_temperature(logits, targets)
    return Predictions(tuple(map(str, range(n))), logits, targets, ("a", "b", "c"), temperature)


def multi(strength: float, n: int = 60, c: int = 6) -> Predictions:
    rng = np.random.default_rng(6)
    targets = (rng.random((n, c)) < 0.3).astype(np.int64)
    logits = (rng.normal(size=(n, c)) + strength * (2 * targets - 1)).astype(np.float32)
    temperature = calibration.fit_temperature(logits, targets)
    tuned = thresholds.tune(calibration.sigmoid(logits, temperature), targets)
    names = tuple("abcdefgh"[:c])
    return Predictions(tuple(map(str, range(n))), logits, targets, names, temperature, "multi", tuned)


@given(st.integers(0, 1000), st.lists(st.integers(0, 4), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_halves_hold_as_many_of_each_class(seed, classes):
    targets = np.array(classes)
    second = halves(targets, seed)
    for c in range(5):
        assert abs(int((second & (targets == c)).sum()) - int((~second & (targets == c)).sum())) <= 1
    assert abs(int(second.sum()) - int((~second).sum())) <= 1
    assert (halves(targets, seed) == second).all()


def test_halves_share_the_rarest_label():
    targets = np.zeros((50, 3), dtype=int)
    targets[:, 0], targets[:4, 1], targets[10:30, 2] = 1, 1, 1
    assert int(targets[halves(targets), 1].sum()) == 2


def test_single_label_figures():
    raw = single()
    found, second = cross_fit(raw), halves(raw.targets)
    probs = np.zeros((80, 3))
    for fit_on, judge_on, temperature in zip((~second, second), (second, ~second), found.temperatures, strict=True):
        assert temperature == calibration.fit_temperature(raw.logits[fit_on], raw.targets[fit_on])
        probs[judge_on] = calibration.softmax(raw.logits[judge_on], temperature)
    assert found.cross_fitted["calibrated_loss"] == pytest.approx(
        log_loss(raw.targets, probs / probs.sum(1, keepdims=True)), rel=1e-5
    )
    assert found.reported["calibrated_loss"] == pytest.approx(
        log_loss(raw.targets, raw.probs.astype(float) / raw.probs.astype(float).sum(1, keepdims=True)), rel=1e-5
    )
    assert found.reported["calibrated_loss"] < found.cross_fitted["calibrated_loss"]
    assert found.reported["accuracy"] == found.cross_fitted["accuracy"]  # a temperature changes no answer
    assert found.to_dict()["halves"] == [40, 40]


def test_reported_figures_are_the_evaluations():
    raw = multi(1.0)
    found, e = cross_fit(raw).to_dict()["reported"], evaluate(raw)
    assert found["accuracy"] == e.accuracy.to_dict()
    assert found["macro_f1"] == e.macro_f1_interval.to_dict()
    expected = [e.accuracy_multi, e.micro_f1, e.ece_after]
    assert [found[name] for name in ("accuracy_multi", "micro_f1", "calibration_error")] == pytest.approx(expected)


def test_thresholds_fitted_to_noise_look_better_than_they_are():
    found = cross_fit(multi(0.0))
    assert found.reported["macro_f1"].value > found.cross_fitted["macro_f1"].value + 0.05


def test_multi_label_figures():
    raw = multi(1.0)
    found, second = cross_fit(raw), halves(raw.targets)
    given_ = np.zeros(raw.targets.shape, dtype=bool)
    for fit_on, judge_on, t in zip((~second, second), (second, ~second), found.temperatures, strict=True):
        tuned = thresholds.tune(calibration.sigmoid(raw.logits[fit_on], t), raw.targets[fit_on])
        given_[judge_on] = thresholds.decide(calibration.sigmoid(raw.logits[judge_on], t), tuned)
    assert found.cross_fitted["macro_f1"].value == pytest.approx(f1_score(raw.targets, given_, average="macro"))
    assert found.cross_fitted["micro_f1"] == pytest.approx(f1_score(raw.targets, given_, average="micro"))


def test_too_few_images():
    with pytest.raises(DataError, match="needs 20 images"):
        cross_fit(single(n=19))
