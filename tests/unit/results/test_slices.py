"""The error by what images look like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.results import slices
from imgclf.results.metrics import wilson
from imgclf.results.slices import Looks


def looks(brightness, width=None, height=None):
    n = len(brightness)
    same = np.full(n, 100)
    return Looks(np.array(brightness), same if width is None else np.array(width), same if height is None else height)


def test_what_is_dark_and_wrong_is_marked():
    brightness = np.linspace(0.1, 0.9, 200)
    found = slices.slices(looks(brightness), brightness < 0.3)
    rows = {row["slice"].split(",")[0]: row for row in found["rows"]}
    assert {row["by"] for row in found["rows"]} == {"brightness"}, "all images have one size and shape"
    assert [row["differs"] for row in found["rows"]] == ["worse", "better", "better", "better"]
    assert rows["darkest"]["slice"] == "darkest, 10 % to 30 %"
    assert rows["darkest"]["error"] == wilson(50, 50).to_dict()
    assert found["error"] == wilson(50, 200).to_dict()
    assert "4 of 4 slices" in slices.sentence(found)


def test_few_images_are_never_marked():
    found = slices.slices(looks(np.linspace(0, 1, 40)), np.linspace(0, 1, 40) < 0.25)
    assert [row["error"]["n"] for row in found["rows"]] == [10] * 4
    assert {row["differs"] for row in found["rows"]} == {None}
    assert "0 of 0" in slices.sentence(found)


def test_shapes_and_sizes():
    width, height = np.array([100] * 30 + [300] * 30 + [50] * 30), np.array([100] * 60 + [200] * 30)
    found = slices.slices(Looks(np.full(90, 0.5), width, height), np.arange(90) < 30)
    by = {row["slice"]: row["error"]["n"] for row in found["rows"] if row["by"] == "shape"}
    assert by == {"tall (narrower than 4:5)": 30, "about square": 30, "very wide (8:5 and more)": 30}
    sizes = [(row["slice"], row["error"]["n"]) for row in found["rows"] if row["by"] == "shorter side"]
    assert sizes == [("smallest, 50 px", 30), ("largest, 100 px", 60)]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_every_image_is_in_one_slice_of_each_kind(images):
    values, wrong = np.array([value for value, _ in images]) / 6, np.array([bad for _, bad in images])
    found = slices.slices(Looks(values, 10 + values * 60, np.full(len(images), 30)), wrong)
    for kind in {row["by"] for row in found["rows"]}:
        rows = [row["error"] for row in found["rows"] if row["by"] == kind]
        assert sum(row["n"] for row in rows) == len(images)
        assert round(sum(row["n"] * row["value"] for row in rows)) == wrong.sum()
        assert len(rows) > 1


def test_images_that_are_gone_are_counted():
    assert slices.missing(9, 9) == ""
    assert slices.missing(9, 7) == "2 of 9 judged images could not be read again."


def test_nobody_is_marked_where_all_are_right():
    found = slices.slices(looks(np.linspace(0, 1, 400)), np.zeros(400, bool))
    assert found["error"]["value"] == pytest.approx(0)
    assert {row["differs"] for row in found["rows"]} == {None}
