"""Would more images help? Draws, the power law and the advice, on features whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probed import frozen, several

from imgclf.results import baselines, learning_curve
from imgclf.results.baselines import Frozen
from imgclf.results.learning_curve_plot import learning_curve_plot


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_draw_has_as_much_of_every_class(numbers, fraction):
    targets = np.array(numbers)
    drawn = learning_curve.draw(targets, fraction, np.random.default_rng(0))
    assert len(set(drawn.tolist())) == len(drawn)
    for number in set(numbers):
        had = int((targets == number).sum())
        assert int((targets[drawn] == number).sum()) == max(1, round(fraction * had))


@given(st.integers(1, 60), st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_draw_of_several_labels_has_the_size_asked_for(n, fraction):
    targets = np.random.default_rng(n).integers(0, 2, (n, 3))
    drawn = learning_curve.draw(targets, fraction, np.random.default_rng(0))
    assert len(set(drawn.tolist())) == len(drawn) == max(1, round(fraction * n))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_draw_of_groups_is_of_whole_ones_and_has_enough_of_every_class(images, fraction, several):
    targets, groups = (np.array(numbers) for numbers in zip(*images, strict=True))
    given_targets = np.eye(4, dtype=int)[targets] if several else targets
    drawn = learning_curve.draw(given_targets, fraction, np.random.default_rng(0), groups)
    there = set(groups[drawn].tolist())
    assert drawn.tolist() == [i for i, group in enumerate(groups.tolist()) if group in there]
    largest = np.bincount(groups).max()
    for number in set(targets.tolist()):
        wanted = max(1, round(fraction * int((targets == number).sum())))
        assert int((targets[drawn] == number).sum()) >= wanted
    if len(set(targets.tolist())) == 1:
        assert len(drawn) < wanted + largest


def test_more_pictures_of_the_same_things_do_not_pass_for_more_things():
    """Fifteen things of each of two classes, eight pictures each: half of the pictures show all things."""
    rng = np.random.default_rng(0)
    things = rng.normal(size=(30, 8)) * 2 + np.eye(2, 8)[np.arange(30) % 2] * 2
    thing = np.arange(30).repeat(8)
    new = rng.normal(size=(400, 8)) * 2 + np.eye(2, 8)[np.arange(400) % 2] * 2
    train = things[thing] + rng.normal(size=(240, 8)) * 0.05
    f = frozen(n=240, m=400)
    f = Frozen(train, thing % 2, new, np.arange(400) % 2, f.classes, f.body, 240)
    falls = [learning_curve.curve(g, 10.0)["half_to_all"]["fall"] for g in (f, replace(f, groups=thing))]
    assert falls[1] > falls[0] + 0.01


def test_the_curve_ends_at_the_probe_and_repeats():
    f = frozen(n=90, m=60, apart=0.7)
    made = learning_curve.curve(f, 10.0)
    whole = (baselines.logistic(f, 10.0).argmax(1) != f.truth).mean()
    assert [p["images"] for p in made["points"]] == [9, 24, 45, 66, 90]
    assert made["points"][-1]["error"] == pytest.approx(whole)
    assert all(0 <= p["low"] <= p["error"] <= p["high"] <= 1 for p in made["points"])
    half, every = made["points"][2]["error"], made["points"][-1]["error"]
    assert made["half_to_all"]["fall"] == pytest.approx(half - every)
    assert learning_curve.curve(f, 10.0) == made


def test_a_power_law_is_continued(monkeypatch):
    """Errors that halve with four times the images: at twice the images 1 / sqrt(2) of them."""
    sizes = {0.1: 40, 0.25: 100, 0.5: 200, 0.75: 300, 1.0: 400}

    def point(f, fraction, strength, rng):
        right = np.ones((1, 2000), np.float32)
        right[:, : round(2000 * 4 / np.sqrt(sizes[fraction]))] = 0
        return learning_curve._Point(sizes[fraction], right)

    monkeypatch.setattr(learning_curve, "_point", point)
    f = frozen(n=400, m=2000)
    made = learning_curve.curve(f, 10.0)
    assert made["doubled"]["images"] == 800
    assert made["doubled"]["error"] == pytest.approx(0.2 / np.sqrt(2), rel=0.01)
    assert made["doubled"]["low"] < 0.2 / np.sqrt(2) < made["doubled"]["high"]
    assert "so more images would help" in made["advice"]
    assert "from half of the training images (200) to all 400 took the error rate" in made["advice"]


def test_a_level_curve_is_no_reason_for_more_images():
    rng = np.random.default_rng(3)
    noise = Frozen(
        rng.normal(size=(60, 4)),
        np.arange(60) % 3,
        rng.normal(size=(60, 4)),
        np.arange(60) % 3,
        ("a", "b", "c"),
        "",
        60,
    )
    made = learning_curve.curve(noise, 1.0)
    assert made["half_to_all"]["low"] <= 0
    assert made["half_to_all"]["high"] < 0.2 * made["points"][-1]["error"]
    assert made["advice"].endswith("more images of the same kind are not likely to help much.")
    wide = {**made, "half_to_all": {"fall": 0.0, "low": -0.2, "high": 0.2}}
    assert learning_curve.advice(wide).endswith("the 60 images it is judged on cannot tell whether more would help.")


def test_nothing_is_left_to_gain():
    made = learning_curve.curve(frozen(apart=30.0), 100.0)
    assert made["points"][-1]["error"] == 0
    assert made["doubled"] is None
    assert "nothing here shows that more images would help" in made["advice"]


def test_classes_that_gained_most_come_first():
    made = learning_curve.curve(frozen(n=90, m=60, apart=0.7), None)
    gains = [row["gain"] for row in made["per_class"]]
    assert gains == sorted(gains, reverse=True)
    assert {row["class"]: (row["n"], row["n_train"]) for row in made["per_class"]} == dict.fromkeys("abc", (20, 30))
    assert all(row["gain"] == pytest.approx(row["all"] - row["half"], abs=1e-6) for row in made["per_class"])
    assert made["classifier"] == "nearest neighbours"


def test_the_advice_names_classes_that_gained_clearly_and_have_room_left():
    point = {"images": 100, "low": 0.0, "high": 1.0}
    points = [{"fraction": 0.5, "error": 0.3, **point}, {"fraction": 1.0, "error": 0.2, **point}]
    rows = [
        {"class": name, "low": low, "all": every, "n": n}
        for name, low, every, n in [("done", 0.1, 1.0, 20), ("few", 0.1, 0.5, 4), ("chance", -0.1, 0.5, 20),
                                    ("gaining", 0.1, 0.9, 20)]
    ]  # fmt: skip
    fall = {"fall": 0.1, "low": 0.05, "high": 0.15}
    found = {"figure": "error rate", "n": 80, "points": points, "half_to_all": fall, "doubled": None, "per_class": rows}
    assert learning_curve.advice(found).endswith("so more images would help, most of all of gaining.")


def test_several_labels_count_decisions():
    made = learning_curve.curve(several(), 10.0)
    assert made["figure"] == "wrong label decisions"
    assert made["points"][-1]["error"] < made["points"][0]["error"] < 0.5


def test_of_many_labels_the_same_images_are_drawn_again_once(monkeypatch):
    drawn, made = [], np.random.default_rng

    class Counting:
        def __init__(self, seed):
            self.inner = made(seed)

        def __getattr__(self, name):
            drawn.append(name)
            return getattr(self.inner, name)

    f = several()
    point = learning_curve._point(f, 1.0, 10.0, made(0))
    monkeypatch.setattr(np.random, "default_rng", Counting)
    assert len(learning_curve._per_class(f, point, point, 0)) > 1
    assert drawn == ["multinomial"]


@pytest.mark.parametrize(
    ("f", "why"),
    [(frozen(n=12), "fewer than 20 training images"), (frozen(targets=np.zeros(60, int)), "of one class")],
)
def test_where_there_is_no_curve_it_says_why(f, why):
    made = learning_curve.curve(f, 10.0)
    assert made["figure"] is None
    assert why in made["why"]


def test_the_picture(tmp_path):
    made = learning_curve.curve(frozen(n=90, m=60, apart=0.7), 10.0)
    for i, found in enumerate((made, {**made, "doubled": None})):
        assert learning_curve_plot(found, tmp_path / f"{i}.png").stat().st_size > 5000
