"""Corrections are laid over the labels; a split that is used again says what changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgclf.data import changes, corrections, split
from imgclf.data.changes import Recorded
from imgclf.data.samples import Sample, Samples
from imgclf.errors import ConfigError, DataError

FOUND = Samples(Path("/d"), tuple(Sample(f"{c}/{i}", (c,)) for c in ("cat", "dog") for i in range(3)), "test")


def test_relabel_and_drop(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("path,action,label\ncat/0,relabel,dog\ndog/1,drop,\n")
    made = corrections.apply(file, FOUND)
    assert made.class_counts == {"cat": 2, "dog": 3}
    assert "2 corrections of c.csv (1 relabelled, 1 dropped)" in made.layout
    assert made.corrections == 2


def test_a_label_named_twice_counts_once(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("path,action,label\ncat/0,relabel,dog;cat;dog\n")
    made = corrections.apply(file, replace(FOUND, multi_label=True))
    assert made.items[0].labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("cat/9,drop,", "line 2: no image 'cat/9'"),
        ("cat/0,relable,dog", "no action 'relable'. Did you mean 'relabel'"),
        ("cat/0,relabel,dgo", "no class 'dgo'. Did you mean 'dog'"), ("cat/0,relabel,", "no class ''"),
        ("cat/0,drop,\ncat/0,drop,", "corrected twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_corrected_is_said(tmp_path, row, said):
    (tmp_path / "c.csv").write_text(f"path,action,label\n{row}\n")
    with pytest.raises(DataError) as caught:
        corrections.apply(tmp_path / "c.csv", FOUND)
    assert said in caught.value.message


@pytest.mark.parametrize("text", [None, "path,label\n"])
def test_a_corrections_file_that_cannot_be_used(tmp_path, text):
    if text:
        (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match=r"c\.csv"):
        corrections.apply(tmp_path / "c.csv", FOUND)


def test_what_changed_since_training_is_counted():
    rows = [Recorded(Sample(str(i), ("a",), "valid"), "1", "old") for i in range(5)]
    now = {"0": "new", "1": "new", "2": "new", "3": "old"}
    assert changes.describe(rows, now) == "3 validation files changed, 1 vanished since training"
    assert changes.describe(rows, {str(i): "old" for i in range(5)}) == ""


def test_a_split_is_used_again_and_new_images_are_not(make_config, tmp_path):
    (tmp_path / "split.csv").write_text("path,label,split\ncat/0,cat,train\ndog/0,dog,train\ncat/1,cat,valid\n")
    made = split.split(make_config("/d", **{"data.split": str(tmp_path)}), FOUND)
    assert [s.path for s in made.valid] == ["cat/1"] and len(made.train) == 2
    assert made.new == 3


def test_extra_classes_can_end_the_run(make_config):
    items = (*FOUND.items, Sample("x", ("cow",), "valid"), Sample("y", ("cat",), "valid"))
    with pytest.raises(DataError, match="without a training image: 'cow'"):
        split.split(make_config("/d", **{"data.extra_classes": "fail"}), Samples(Path("/d"), items, "t"))
    made = split.split(make_config("/d"), Samples(Path("/d"), items, "t"))
    assert any("1 of 2 classes have no validation image: 'dog'" in note for note in split.notes(made))


def test_a_fold_that_is_not_there(make_config):
    with pytest.raises(ConfigError, match="folds count from 1"):
        make_config("/d", **{"data.folds": 3, "data.fold": 4})
