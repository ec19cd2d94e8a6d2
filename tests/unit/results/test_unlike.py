"""Images unlike those a model knows: who is flagged, how often wrongly, and what a record may say."""

import json

import numpy as np
import pytest

from imgclf.errors import ModelError
from imgclf.results import beside, unlike

F = 48


def known(n: int, seed: int) -> np.ndarray:
    """Features that vary along six directions, and a little along all: as a ReLU's, none is negative."""
    directions = np.random.default_rng(99).normal(size=(6, F))
    rng = np.random.default_rng(seed)
    return np.maximum(2 + rng.normal(size=(n, 6)) @ directions * 0.3 + rng.normal(size=(n, F)) * 0.1, 0)


def other(n: int) -> np.ndarray:
    directions = np.random.default_rng(5).normal(size=(6, F))
    return np.maximum(2 + np.random.default_rng(6).normal(size=(n, 6)) @ directions * 0.3, 0)


def test_new_images_of_the_same_kind_are_flagged_as_rarely_as_said():
    shares = [float((unlike.fit(known(200, s)).distances(known(1000, s + 100)) > 1).mean()) for s in range(20)]
    assert 0.003 < np.mean(shares) < 0.02


def test_others_are_flagged_however_bright():
    check = unlike.fit(known(200, 0))
    assert (check.distances(other(100)) > 1).mean() > 0.95
    np.testing.assert_allclose(check.distances(other(5) * 7), check.distances(other(5)), rtol=1e-3)


@pytest.mark.parametrize(("n", "rate"), [(19, None), (20, 1 / 21), (98, 1 / 99), (99, 0.01), (500, 0.01)])
def test_few_images_vouch_for_a_higher_rate(n, rate):
    found = unlike.fit(known(n, 0))
    assert (found and found.rate) == (pytest.approx(rate) if rate else None)


def test_of_very_many_images_some_are_enough(monkeypatch):
    monkeypatch.setattr(unlike, "MOST", 150)
    assert unlike.fit(known(400, 0)).n == 150


def test_features_that_are_no_numbers_or_all_alike():
    assert unlike.fit(np.full((30, F), np.nan)) is None
    same = unlike.fit(np.ones((30, F)))
    assert np.isfinite(same.distances(np.ones((2, F)))).all()


def test_the_record_gives_the_same_distances():
    check = unlike.fit(known(200, 0))
    text = json.dumps(check.to_dict())
    assert len(text) < 8000
    again = unlike.stored(json.loads(text))
    np.testing.assert_array_equal(again.distances(other(9)), check.distances(other(9)))
    assert unlike.stored(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"centre": "no base64!"}, {"centre": ""}, {"basis": "AAAA"}, {"rest": 0}, {"rest": "x"}, {"rest": 1e-40},
        {"rest": 1e300}, {"threshold": -1.0}, {"threshold": float("nan")}, {"threshold": 1e-300}, {"rate": 1.0},
        {"spread": [1.0]}, {"spread": "abc"}, {"spread": [1e-40] * 8}, {"n": None},
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_right_is_refused(change):
    entry = {**unlike.fit(known(40, 0)).to_dict(), **change}
    with pytest.raises(ModelError, match="check for unlike images"):
        unlike.stored(entry)
    with pytest.raises(ModelError):
        unlike.stored(["not a record"])


def test_features_of_another_body_are_refused():
    with pytest.raises(ModelError, match="is for 48 features, its body gives 12"):
        unlike.fit(known(40, 0)).distances(np.ones((2, 12)))


def test_an_evaluation_says_so_only_where_it_is_more_than_chance():
    check = unlike.fit(known(200, 0))
    names = [f"{i}.jpg" for i in range(60)]
    usual = unlike.summary(check.distances(known(60, 3)), names, check, own=False)
    assert unlike.warning(usual) == []
    odd = unlike.summary(check.distances(other(60)), names, check, own=False)
    assert "of 60 images are unlike those the model was trained for (1.0% would be by chance)" in unlike.warning(odd)[0]
    assert odd["flagged"] > 55
    assert len(odd["farthest"]) == unlike.SHOWN
    far = [row["distance"] for row in odd["farthest"]]
    assert far == sorted(far, reverse=True)
    assert unlike.warning({**odd, "fitted_here": True}) == []
    [line] = beside.unlike_images(odd)
    assert f"{odd['farthest'][0]['path']} (" in line
    assert beside.unlike_images(None) == []
