"""Bursts and films are found by their names' order; things of which there is one picture each are not."""

import numpy as np
import pytest
from probed import NAMES, frozen, several

from imgclf.results import neighbours
from imgclf.results.baselines import Frozen


def pictures(things: int, each: int, apart: float = 1.0, seed: int = 0) -> Frozen:
    """Things of two classes that overlap, ``each`` pictures of one following each other."""
    rng = np.random.default_rng(seed)
    classes = np.arange(2).repeat(things // 2)
    shown = rng.normal(size=(things, 8)) + np.eye(2, 8)[classes] * apart
    x = shown.repeat(each, 0) + rng.normal(size=(things * each, 8)) * 0.05
    return Frozen(x, classes.repeat(each), x[:2], classes[:2], NAMES, "net", len(x))


def test_pictures_of_the_same_things_in_a_row():
    found = neighbours.find(pictures(things=40, each=6))
    assert found["same_things"] and found["n"] == 240
    assert found["error_with"] < 0.02 and found["error_without"] > 0.15
    assert "0.0% of them" in found["sentence"] and "data.group_by" in found["sentence"]


def test_every_other_one_has_a_thing_of_its_own():
    f = pictures(things=240, each=1)
    found = neighbours.find(f)
    assert not found["same_things"] and found["sentence"] == ""
    assert found["error_with"] == pytest.approx(found["error_without"], abs=0.06)


def test_in_no_order_neighbours_are_not_found():
    f = pictures(things=40, each=6)
    mixed = np.random.default_rng(1).permutation(240)
    assert not neighbours.find(f.subset(mixed))["same_things"]


def test_several_labels_and_few_images():
    found = neighbours.find(several())
    assert 0 < found["error_with"] < 1 and not found["same_things"]
    for n in (1, 2, 3):
        assert neighbours.find(frozen(n=n, m=2))["sentence"] == ""


def test_several_labels_in_a_row():
    f = pictures(things=40, each=6)
    both = np.stack([f.targets == 0, f.targets == 1, f.targets < 5], 1).astype(int)
    found = neighbours.find(Frozen(f.train, both, f.train[:2], both[:2], NAMES, "net", 240))
    one = neighbours.find(f)
    assert found["same_things"] and found["error_without"] == pytest.approx(one["error_without"])
