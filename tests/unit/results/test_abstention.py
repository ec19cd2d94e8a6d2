import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from imgclf.errors import GateError, ModelError, UserError
from imgclf.results import abstention
from imgclf.results.risk_plot import risk_coverage_plot


def sample(seed: int, n: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 2), many of them equal, and targets: the surer, the more often right."""
    rng = np.random.default_rng(seed)
    sure = 0.5 + rng.integers(0, steps, n) / (2 * steps)
    right = rng.random(n) < sure
    return np.stack([sure, 1 - sure], 1).astype(np.float32), np.where(right, 0, 1)


samples = st.builds(sample, st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 60))
quick = settings(max_examples=40, deadline=None)


@given(st.integers(1, 2000), st.data())
@quick
def test_the_bound_is_clopper_and_pearsons(n, data):
    wrong = data.draw(st.integers(0, n))
    theirs = binomtest(wrong, n, alternative="less").proportion_ci(0.95, "exact").high
    assert abstention.at_most(np.array([wrong]), np.array([n]))[0] == pytest.approx(theirs, abs=1e-9)


def test_how_many_faultless_answers_a_rate_needs():
    bound = abstention.at_most(np.zeros(4), np.array([58, 59, 298, 299]))
    assert (bound > 0.05).tolist() == [True, False, False, False]
    assert (bound > 0.01).tolist() == [True, True, True, False]


@given(samples)
@quick
def test_every_point_of_the_curve_is_what_its_threshold_does(made):
    probs, targets = made
    of = abstention.curve(probs, targets)
    assert (np.diff(of.thresholds) < 0).all()
    assert (of.thresholds[-1], of.answered[-1]) == (0, len(targets))
    for threshold, answered, wrong in zip(of.thresholds, of.answered, of.wrong, strict=True):
        given_ = probs.max(1) >= threshold
        assert (given_.sum(), (probs.argmax(1) != targets)[given_].sum()) == (answered, wrong)


@given(samples, st.sampled_from([0.05, 0.1, 0.3, 0.5]))
@quick
def test_the_choice_answers_the_most(made, rate):
    probs, targets = made
    found = abstention.choose(abstention.curve(probs, targets), rate)
    every = [abstention.judged(probs, targets, rate, float(t)) for t in np.unique(probs.max(1))]
    good = [each for each in every if each.error.high <= rate]
    assert (found is None) == (not good)
    if found is not None:
        assert found.coverage == max(good, key=lambda each: each.coverage.n * each.coverage.value).coverage
        assert found.error.high <= rate
        assert found == abstention.judged(probs, targets, rate, found.threshold)


@pytest.mark.parametrize("shape", [lambda u: 0.3 * u**4, lambda u: 0.11 * u])
def test_the_rate_holds_on_new_images(shape):
    """Where sure answers are rarely wrong: among 300 draws of 500 images few choose a threshold that breaks it."""
    rng, rate, broken = np.random.default_rng(0), 0.05, 0
    for _ in range(300):
        place = rng.random(500)  # 0: the surest of all
        probs = np.stack([1 - place / 2, place / 2], 1)
        found = abstention.choose(abstention.curve(probs, (rng.random(500) < shape(place)).astype(int)), rate)
        answered = np.linspace(0, 2 * (1 - found.threshold), 500) if found else np.zeros(1)
        broken += shape(answered).mean() > rate
    assert broken <= 0.08 * 300


def test_out_of_reach():
    probs, targets = np.tile([0.9, 0.1], (40, 1)), np.array([0] * 39 + [1])
    found = abstention.choose_here(probs, targets, 0.01)
    assert (found.reached, found.to_dict()["threshold_rate"]) == (False, found.choice.error.high)
    message = r"wrong answers at 0\.01: .*40 images .* is 0\.11\d+ \(40 answers given, 0\.02"
    with pytest.raises(GateError, match=message) as e:
        abstention.enforce(found)
    assert e.value.hint.startswith("--abstain 0.11")
    assert abstention.choose_here(probs, targets, 0.2).reached
    assert abstention.choices(probs, targets)[0].rate == 0.15


def test_nothing_is_right():
    found = abstention.choose_here(np.array([[0.9, 0.1]] * 3), np.array([1, 1, 1]), 0.1)
    with pytest.raises(GateError) as e:
        abstention.enforce(found)
    assert "better model" in e.value.hint


def test_no_rate_is_advised_that_cannot_be_asked_for():
    probs, targets = np.tile([0.9, 0.1], (2000, 1)), np.array([0] + [1] * 1999)
    with pytest.raises(GateError, match="lowest rate") as e:
        abstention.enforce(abstention.choose_here(probs, targets, 0.1))
    assert "better model" in e.value.hint


def test_nothing_is_answered():
    found = abstention.judged(np.array([[0.6, 0.4]]), np.array([0]), 0.1, 0.9)
    assert np.isnan(found.error.value)
    assert (found.error.high, found.coverage.value) == (1, 0)
    assert "unknown" in abstention.sentence(found)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5, float("nan")])
def test_a_rate_that_is_none(rate):
    with pytest.raises(UserError, match="above 0 and below 1"):
        abstention.check_rate(rate)


def test_the_rate_used_is_the_highest_that_is_no_higher():
    known = abstention.stored([{"rate": 0.1, "threshold": 0.7}, {"rate": 0.05, "threshold": 0.9, "coverage": {}}])
    assert abstention.threshold_for(known, 0.1) == (0.1, 0.7)
    assert abstention.threshold_for(known, 0.09) == (0.05, 0.9)
    with pytest.raises(ModelError, match=r"vouch for 0\.05, 0\.1") as e:
        abstention.threshold_for(known, 0.01)
    assert e.value.hint == "--abstain 0.05"
    with pytest.raises(ModelError, match="record has none"):
        abstention.threshold_for((), 0.01)


@pytest.mark.parametrize(
    "entries", ["x", None, [1], [{}], [{"rate": 2, "threshold": 0.5}], [{"rate": 0.1, "threshold": True}]]
)
def test_thresholds_from_anywhere(entries):
    with pytest.raises(ModelError, match="cannot be right"):
        abstention.stored(entries)


def test_a_summary():
    probs, targets = sample(0, 400, 90)
    found = abstention.choices(probs, targets)
    said = abstention.summary(found)
    assert said.startswith(f"at most {100 * found[0].rate:g} % wrong with {100 * found[0].coverage.value:.1f} % of the")
    assert 1 <= said.count("answered") <= 3
    assert abstention.summary([]) == "these images vouch for no rate of wrong answers"


def test_the_picture(tmp_path):
    probs, targets = sample(0, 400, 90)
    of = abstention.curve(probs, targets)
    assert risk_coverage_plot(of, abstention.choices(probs, targets), tmp_path / "a.png").stat().st_size > 5000
    one = abstention.curve(probs[:1], targets[:1])
    assert risk_coverage_plot(one, [], tmp_path / "b.png").is_file()
