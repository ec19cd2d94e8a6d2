"""`imgclf data summary`: fastai's own account, readable."""

import pytest

from imgclf.data.samples import Sample
from imgclf.data.split import Dataset
from imgclf.data.summary import summary, tidy


@pytest.fixture
def told(tmp_path, pictures, make_config):
    def make(n, labels=(("a",), ("b",)), multi_label=False, **settings):
        names = [f"{i}.png" for i in range(n + 2)]
        pictures.files(tmp_path, *names)
        train = [Sample(name, labels[i % 2], "train") for i, name in enumerate(names[:n])]
        valid = [Sample(name, labels[i % 2], "valid") for i, name in enumerate(names[n:])]
        data = Dataset(tmp_path, ("a", "b"), tuple(train), tuple(valid), multi_label=multi_label)
        cfg = make_config(tmp_path, **{"augment.size": 8, "augment.presize": 12, "data.workers": 0, **settings})
        return summary(cfg, data)

    return make


@pytest.mark.parametrize("n", [2, 6])
def test_each_step_is_told_and_explained(told, n):
    text = told(n)
    for part in (
        f"{n + 2} samples, such as 0.png (a)",
        "OpenImage gives",
        "Fused -> ToTensor",
        "crop, flip, rotate, zoom and warp to 8 pixels in one interpolation",
        "IntToFloatTensor gives",
        "TensorCategory",
    ):
        assert part in text
    assert "OneHotEncode" not in text


def test_a_grey_model_is_told_as_one(told):
    assert "size 3x8x8" in told(2)
    grey = told(2, **{"data.channels": 1})
    assert "size 1x8x8" in grey and "size 3x8x8" not in grey


def test_settings_and_empty_lines_are_left_out(told):
    text = told(6)
    assert " -- {" not in text
    assert "\n\n\n" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_several_labels_are_rows_of_zeros_and_ones(told):
    text = told(6, labels=(("a", "b"), ()), multi_label=True)
    assert "0.png (a, b)" in text
    assert "OneHotEncode gives" in text


def test_nested_settings_are_cut_to_their_end():
    assert tidy("A -- {'x': {'y': [1, 2]}, 'z': 'w'}\n -> B gives\n  C") == "A -> B gives\n  C"
