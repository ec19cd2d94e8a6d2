"""Groups come from a column or from the path, and a split that parts them is reported."""

import pytest

from imgclf.data import scan, split
from imgclf.data.samples import Sample, Samples
from imgclf.errors import ConfigError, DataError

NAMES = [f"{label}/p{p}_{i}.png" for label in ("cat", "dog") for p in range(4) for i in range(2)]


@pytest.fixture
def photos(tmp_path, pictures):
    return pictures.files(tmp_path / "photos", *NAMES)


def test_a_pattern_on_the_path_keeps_groups_whole(photos, make_config):
    cfg = make_config(photos, **{"data.group_by": r"(\w+/p\d+)_", "data.valid_pct": 0.25})
    found = scan.scan(cfg)
    assert {s.path: s.group for s in found.items}["cat/p1_0.png"] == "cat/p1"
    assert r"8 groups by (\w+/p\d+)_" in found.layout
    made = split.split(cfg, found)
    assert not {s.group for s in made.train} & {s.group for s in made.valid}
    assert (len(made.train), len(made.valid)) == (12, 4)
    assert split.notes(made) == []


def test_a_column_of_the_table_keeps_groups_whole(photos, make_config):
    rows = [f"{name},{name[:3]},{name[4:6]}" for name in NAMES] + ["x.png,cat,"]
    (photos / "t.csv").write_text("\n".join(["image,label,patient", *rows]))
    cfg = make_config(photos / "t.csv", **{"data.group_by": "patient"})
    found = scan.scan(cfg)
    assert "4 groups by patient (1 images in none)" in found.layout
    made = split.split(cfg, found)
    held = {s.group for s in made.valid} - {None}
    assert held and not {s.group for s in made.train} & held


def test_a_column_without_any_group_is_not_taken_for_a_pattern(photos, make_config):
    (photos / "t.csv").write_text("\n".join(["image,label,patient", *(f"{name},{name[:3]}," for name in NAMES)]))
    with pytest.raises(DataError, match=r"the column 'patient' .* names no group"):
        scan.scan(make_config(photos / "t.csv", **{"data.group_by": "patient"}))


@pytest.mark.parametrize(
    ("group_by", "kind", "said"),
    [
        ("patient", DataError, "'patient' is no column and matches no path; the first path is 'cat/p0_0.png'"),
        ("(p", ConfigError, "neither a column nor a regular expression"),
        (r"p\d", ConfigError, "has no group"),
    ],
)
def test_what_makes_no_groups_is_said(photos, make_config, group_by, kind, said):
    with pytest.raises(kind) as caught:
        scan.scan(make_config(photos, **{"data.group_by": group_by}))
    assert said in caught.value.message


def test_a_group_on_both_sides_of_a_given_split_is_reported(photos, make_config):
    items = [
        *(Sample(f"{c}/{i}", (c,), "train", f"p{i}") for c in "ab" for i in range(3)),
        *(Sample(f"v/{c}", (c,), "valid", "p1") for c in "ab"),
    ]
    made = split.split(make_config(photos), Samples(photos, tuple(items), "test"))
    (note,) = split.notes(made)
    assert note.startswith("1 groups (data.group_by) are both in training and held out") and "'p1'" in note


def test_folds_are_refused_where_the_data_says_who_validates(photos, make_config):
    items = [Sample(f"{part}/{c}{i}", (c,), part) for part in ("train", "valid") for c in "ab" for i in range(3)]
    with pytest.raises(DataError, match=r"data\.folds is set, but the data says itself who validates"):
        split.split(make_config(photos, **{"data.folds": 3}), Samples(photos, tuple(items), "test"))
