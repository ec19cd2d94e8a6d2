"""What the pictures of explained images are called, and what they show."""

from pathlib import Path

import numpy as np
import pytest

from imgclf.results.explain import explain
from imgclf.workflow.explain import _file_names, mapped


@pytest.mark.parametrize(
    ("logits", "labels", "shown"),
    [
        ([4, 3, 2, -3], None, ("a", "b", "c")),
        ([4, 3, 2, -3], ("d",), ("a", "d", "b")),
        ([4, 3, -2, -3], ("a", "b"), ("a", "b")),
        ([-1, -2, -3, -4], ("c",), ("c",)),
        ([-1, -2, -3, -4], (), ("a",)),
    ],
)
def test_maps_are_of_the_answer_and_of_what_it_lacks(logits, labels, shown):
    found = explain("x", np.array(logits, np.float32), ("a", "b", "c", "d"), 1.0, labels, None, (0.5,) * 4)
    assert mapped(found) == shown


def test_no_picture_takes_anothers_place():
    paths = [Path(name) for name in ("a/x.jpg", "b/x.png", "x-2.jpg", "x.jpg")]
    found = _file_names(paths, ranked=False)
    assert found == ["x.png", "x-2.png", "x-2-2.png", "x-3.png"]
    assert _file_names(paths, ranked=True) == ["01-x.png", "02-x.png", "03-x-2.png", "04-x.png"]


def test_no_picture_takes_anothers_place_where_large_letters_are_small_ones():
    assert _file_names([Path("a/X.jpg"), Path("a/x.jpg")], ranked=False) == ["X.png", "x-2.png"]


def test_names_fit_any_file_system():
    long = [Path("猫" * 80 + f"{i}.jpg") for i in range(2)]
    for ranked in (False, True):
        found = _file_names(long, ranked)
        assert len(set(found)) == 2
        assert max(len(name.encode()) for name in found) < 240
