"""Planted copies: exact and near duplicates, leaks, conflicts; and what `data.on_leak` makes of them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from support import photo, saved

from imgclf.console import Terminal
from imgclf.data import alike, leaks, prepare, split, survey
from imgclf.data.samples import Sample
from imgclf.errors import DataError
from imgclf.workflow.look import check


def find(root, *names):
    return alike.find(root, survey.inspect(root, [Sample(name, ("a",)) for name in names]))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# The same pixels


def test_other_bytes_with_the_same_pixels_are_the_same(root):
    image = photo(1, 60, 40)
    for name in ("a.png", "b.bmp", "c.tif"):
        image.save(root / name)
    photo(2, 60, 40).save(root / "d.png")
    assert find(root, "a.png", "b.bmp", "c.tif", "d.png").exact == [["a.png", "b.bmp", "c.tif"]]


def test_upright_pixels_count(root):
    """A picture stored turned, with the EXIF tag that undoes it."""
    image = photo(1, 60, 40)
    image.save(root / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(root / "turned.png", exif=exif)
    with Image.open(root / "turned.png") as turned:
        assert ImageOps.exif_transpose(turned).tobytes() == image.tobytes()
    assert find(root, "upright.png", "turned.png").exact == [["turned.png", "upright.png"]]


def test_a_large_jpeg_and_its_png_copy_are_the_same_although_the_check_decodes_the_jpeg_coarsely(root):
    photo(1, 900, 600).save(root / "a.jpg", quality=90)
    with Image.open(root / "a.jpg") as image:
        image.save(root / "b.png")
    found = find(root, "a.jpg", "b.png")
    assert (found.exact, found.nearly) == ([["a.jpg", "b.png"]], [])


def test_a_jpeg_saved_again_is_nearly_the_same_only(root):
    photo(1, 900, 600).save(root / "a.jpg", quality=90)
    with Image.open(root / "a.jpg") as image:
        image.save(root / "b.jpg", quality=89)
    found = find(root, "a.jpg", "b.jpg")
    assert (found.exact, found.nearly) == ([], [["a.jpg", "b.jpg"]])


def test_flat_pictures_are_the_same_only_by_their_pixels(root):
    for name, size, grey in (("a.png", 64, 200), ("b.bmp", 64, 200), ("c.png", 64, 201), ("d.png", 65, 200)):
        Image.new("RGB", (size, size), (grey,) * 3).save(root / name)
    found = find(root, "a.png", "b.bmp", "c.png", "d.png")
    assert (found.exact, found.nearly) == ([["a.png", "b.bmp"]], [])


def test_copies_and_likenesses_make_one_group(root):
    image = photo(1)
    image.save(root / "a.png")
    shutil.copy(root / "a.png", root / "b.png")
    saved(image, 50).save(root / "c.png")
    photo(2).save(root / "d.png")
    found = find(root, "a.png", "b.png", "c.png", "d.png")
    assert (found.exact, found.nearly) == ([["a.png", "b.png"]], [["a.png", "c.png"]])
    assert found.groups == [["a.png", "b.png", "c.png"]]


# Leaks and conflicts


@pytest.fixture
def given(root):
    """train/ and valid/ with one leak of each kind and one near conflict."""
    for i, part in enumerate(("train", "valid")):
        for j, label in enumerate("ab"):
            (root / part / label).mkdir(parents=True)
            for k in range(4):
                photo(100 * i + 10 * j + k, 64, 48).save(root / part / label / f"{k}.png")
    shutil.copy(root / "train/a/0.png", root / "valid/a/exact.png")
    ImageEnhance.Brightness(photo(11, 64, 48)).enhance(1.1).save(root / "valid/b/near.jpg", quality=90)
    photo(2, 64, 48).resize((80, 60)).save(root / "train/b/conflict.png")
    return root


LEAKS = [
    {"train": "train/a/0.png", "valid": "valid/a/exact.png", "kind": "exact"},
    {"train": "train/b/1.png", "valid": "valid/b/near.jpg", "kind": "near"},
]


def test_leaks_and_conflicts_of_both_kinds_are_found_and_no_others(given, make_config):
    found = check(make_config(given))
    assert found["leaks"] == LEAKS
    assert found["conflicts"] == [["train/a/2.png", "train/b/conflict.png"]]
    assert found["conflict_details"][0]["labels"] == [["a"], ["b"]]
    assert found["conflict_details"][0]["kind"] == "near"
    assert found["duplicates"] == [["train/a/0.png", "valid/a/exact.png"]]
    assert len(found["near_duplicates"]) == 2


def test_one_entry_for_each_held_out_file_however_many_copies(given, make_config):
    for name in ("x", "y"):
        shutil.copy(given / "train/a/0.png", given / f"train/a/{name}.png")
        shutil.copy(given / "train/a/0.png", given / f"valid/a/{name}.png")
    exact = [leak for leak in check(make_config(given))["leaks"] if leak["kind"] == "exact"]
    assert [leak["valid"] for leak in exact] == ["valid/a/exact.png", "valid/a/x.png", "valid/a/y.png"]


def test_warn_names_the_ways_on(given, make_config, capsys):
    made = prepare.prepare(make_config(given), Terminal())
    err = capsys.readouterr().err
    assert "2 validation or test images are also in training (1 of them nearly)" in err
    assert "data check" in err and "data.on_leak=fix" in err
    assert "1 picture is there twice with different labels, such as train/a/2.png ~ train/b/conflict.png" in err
    counts = {name: made.findings[name] for name in ("bad", "leaks", "conflicts")}
    assert counts == {"bad": 0, "leaks": 2, "conflicts": 1}
    assert made.findings["fixed"] == {"left_out": [], "groups_kept_together": 0}


def test_fail_ends_with_the_number_and_an_example(given, make_config):
    with pytest.raises(DataError, match=r"2 validation.* valid/a/exact\.png = train/a/0\.png") as caught:
        prepare.prepare(make_config(given, **{"data.on_leak": "fail"}), Terminal(quiet=True))
    assert "data.on_leak=fix" in caught.value.hint
    assert caught.value.exit_code == 3


def test_fail_lets_clean_data_pass(given, make_config):
    for leak in LEAKS:
        (given / leak["valid"]).unlink()
    prepare.prepare(make_config(given, **{"data.on_leak": "fail"}), Terminal(quiet=True))


def test_fix_leaves_the_copies_out_of_training_where_the_data_gives_the_split(given, make_config, capsys):
    plain = prepare.prepare(make_config(given), Terminal(quiet=True)).dataset
    made = prepare.prepare(make_config(given, **{"data.on_leak": "fix"}), Terminal())
    err = capsys.readouterr().err
    assert [s.path for s in made.dataset.valid] == [s.path for s in plain.valid]
    assert {s.path for s in plain.train} - {s.path for s in made.dataset.train} == {"train/a/0.png", "train/b/1.png"}
    assert "2 training images are left out, being held out as well: train/a/0.png, train/b/1.png" in err
    assert "also in training" not in err
    assert made.findings["fixed"]["left_out"] == ["train/a/0.png", "train/b/1.png"]
    assert "\ntrain/a/0.png," not in made.split_csv and (given / "train/a/0.png").exists()


def test_fix_leaves_the_check_without_leaks_and_says_what_it_did(given, make_config):
    found = check(make_config(given, **{"data.on_leak": "fix"}))
    assert found["leaks"] == []
    assert found["fixed"]["left_out"] == ["train/a/0.png", "train/b/1.png"]


def test_fix_keeps_groups_together_where_the_split_is_drawn(root, make_config, capsys):
    for label, first in (("a", 0), ("b", 50)):
        (root / label).mkdir()
        for i in range(10):
            photo(first + i, 64, 48).save(root / label / f"{i}.png")
            saved(photo(first + i, 64, 48), 60).save(root / label / f"{i}-again.png")
    leaking = prepare.prepare(make_config(root), Terminal(quiet=True))
    assert leaks.find(leaking.dataset, leaking.alike)
    for seed in range(3):
        made = prepare.prepare(make_config(root, seed=seed, **{"data.on_leak": "fix"}), Terminal())
        assert leaks.find(made.dataset, made.alike) == []
        assert len(made.dataset.train) + len(made.dataset.valid) == 40
        assert {s.label for s in made.dataset.valid} == {"a", "b"}
        assert 0.1 <= len(made.dataset.valid) / 40 <= 0.3
    assert made.divided.kept_together == 20
    assert "20 groups of equal or nearly equal pictures are each kept on one side" in capsys.readouterr().err


def test_fix_respects_a_split_that_is_reused(given, make_config, tmp_path):
    first = prepare.prepare(make_config(given), Terminal(quiet=True))
    (tmp_path / "split.csv").write_text(first.split_csv)
    again = {"data.split": str(tmp_path / "split.csv"), "data.on_leak": "fix"}
    made = prepare.prepare(make_config(given, **again), Terminal(quiet=True))
    assert [s.path for s in made.dataset.valid] == [s.path for s in first.dataset.valid]
    assert made.divided.dropped == ("train/a/0.png", "train/b/1.png")


def test_groups_of_the_data_stay_whole_and_are_joined_by_copies():
    items = tuple(Sample(p, ("x",), group=g) for p, g in (("1", "p"), ("2", "p"), ("3", "q"), ("4", None), ("5", None)))
    joined = leaks._joined(items, [["2", "3"]])
    assert joined[0].group == joined[1].group == joined[2].group
    assert joined[3].group is None and joined[4].group is None


def test_a_test_split_counts_as_held_out_and_copies_among_held_out_images_do_not():
    parts = {p: (Sample(p, ("a",), p),) for p in ("train", "valid", "test")}
    made = split.Dataset(None, ("a",), **parts)
    near = alike.Alike((("train",), ("test",), ("valid",)), np.array([[0, 1], [1, 2]]))
    assert leaks.find(made, near) == [{"train": "train", "valid": "test", "kind": "near"}]


def test_the_findings_are_json(given, make_config):
    assert json.loads(json.dumps(check(make_config(given))))["leaks"] == LEAKS
