"""Bursts and films are found by their names' order; things of which there is one picture each are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data import neighbours
from imgclf.data.folds import PARTS, folds
from imgclf.data.samples import Sample


def pictures(things: int, each: int, apart: float = 1.0):
    """Things of two classes that overlap, ``each`` pictures of one following each other."""
    rng = np.random.default_rng(0)
    classes = np.arange(2).repeat(things // 2)
    shown = rng.normal(size=(things, 8)) + np.eye(2, 8)[classes] * apart
    return shown.repeat(each, 0) + rng.normal(size=(things * each, 8)) * 0.05, classes.repeat(each)


def test_pictures_of_the_same_things_in_a_row():
    x, y = pictures(things=40, each=6)
    found = neighbours.find(x, y)
    assert found.same_things and found.n == 240
    assert found.error_with < 0.02 and found.error_without > 0.15
    part = folds(y, PARTS, neighbours.belonging(x, y, ()))
    assert all((np.diff(part[y == c]) != 0).sum() == PARTS - 1 for c in (0, 1))
    assert all(len(set(part[i : i + 6].tolist())) == 1 for i in range(0, 240, 6))  # no thing is parted


def test_every_picture_has_a_thing_of_its_own():
    x, y = pictures(things=240, each=1)
    found = neighbours.find(x, y)
    assert not found.same_things and found.error_with == pytest.approx(found.error_without, abs=0.06)
    assert neighbours.belonging(x, y, ()) is None


def test_in_no_order_neighbours_are_not_found():
    x, y = pictures(things=40, each=6)
    mixed = np.random.default_rng(1).permutation(240)
    assert not neighbours.find(x[mixed], y[mixed]).same_things


def test_several_labels_in_a_row():
    x, y = pictures(things=40, each=6)
    both = np.stack([y == 0, y == 1, y < 5], 1).astype(int)
    one, several = neighbours.find(x, y), neighbours.find(x, both)
    assert several.same_things and several.error_without == pytest.approx(one.error_without)


def kinds(each: int):
    """Two classes of five kinds each, one after the other by name; nothing that they share tells the classes apart."""
    rng = np.random.default_rng(0)
    kind = np.arange(10).repeat(each)
    return 4 * rng.normal(size=(10, 8))[kind] + rng.normal(size=(10 * each, 8)), kind // 5


def test_classes_of_several_kinds_are_dealt_out_since_a_kind_that_is_held_out_cannot_be_known():
    found = neighbours.find(*kinds(each=24))
    assert found.error_with < 0.05 and found.error_without > 0.4
    assert not found.same_things and neighbours.belonging(*kinds(each=24), ()) is None


def test_copies_are_held_out_together_even_where_little_is_left_to_go_by():
    """Bursts of things that are hard to tell by other things."""
    x, y = pictures(things=60, each=5, apart=1.3)
    found = neighbours.find(x, y)
    assert neighbours.LEARNED * 0.5 < found.error_without < 0.45 and found.same_things


def test_groups_that_are_named_come_first():
    x, y = pictures(things=40, each=6)
    items = [Sample(str(i), ("a",), group=str(i % 7)) for i in range(240)]
    assert neighbours.belonging(x, y, items).tolist() == [i % 7 for i in range(240)]


def test_of_very_many_images_the_first_of_each_class_are_looked_at(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST", 120)
    x, y = pictures(things=40, each=6)
    x[60:120] = x[180:] = np.nan  # never looked at
    found = neighbours.find(x, y)
    assert found.n == 120 and found.same_things
    every_other = np.eye(240, dtype=int)  # a set of labels of its own for each
    assert neighbours.find(np.nan_to_num(x), every_other).n == 120


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 99), st.booleans())
def test_every_class_is_cut_into_stretches_as_even_as_half_of_one(classes, seed, several):
    y = np.array(classes)
    x = np.random.default_rng(seed).normal(size=(len(y), 3))
    stretch = neighbours.stretches(x, np.eye(4, dtype=int)[y] if several else y)
    for c in set(classes):
        own = stretch[y == c]
        sizes = np.unique(own, return_counts=True)[1]
        assert (np.diff(own) >= 0).all() and not set(own.tolist()) & set(stretch[y != c].tolist())
        assert len(sizes) == min(PARTS, len(own)) or len(own) < 2 * PARTS
        assert sizes.max() <= 2 * len(own) / PARTS + 1


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_few_images_show_nothing(classes):
    x = np.random.default_rng(len(classes)).normal(size=(len(classes), 4))
    found = neighbours.find(x, np.array(classes))
    assert found.n == len(classes) and not found.same_things
