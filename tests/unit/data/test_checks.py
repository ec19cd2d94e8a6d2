"""Bad files, duplicates, leaks and conflicts are found, and only those."""

import random
import shutil

import numpy as np
import pytest
from PIL import Image

from imgclf.console import Terminal
from imgclf.data import alike, checks, images, leaks, prepare, scan, split, survey
from imgclf.data.alike import Alike
from imgclf.data.inspection import FileCheck, inspect_file
from imgclf.data.samples import Sample, Samples
from imgclf.errors import DataError


@pytest.fixture
def good(tmp_path, pictures):
    return pictures.files(tmp_path, "good.png", "good.jpg", size=(60, 40))


@pytest.mark.parametrize("name", ["good.png", "good.jpg"])
def test_a_good_file_has_no_reason_but_size_and_hash(good, name):
    found = inspect_file(good / name)
    assert found.reason is None
    assert found.size == (good / name).stat().st_size
    assert len(found.digest) == 32


def test_an_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert inspect_file(tmp_path / "a.jpg").reason == "empty file"


@pytest.mark.parametrize("name", ["good.png", "good.jpg"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_found_although_its_header_is_whole(tmp_path, pictures, name, share):
    cut = tmp_path / name
    pictures.noise(200, 150).save(cut)
    content = cut.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with Image.open(cut) as image:
        assert image.size == (200, 150)
    assert inspect_file(cut).reason


def test_a_large_truncated_jpeg_is_found_by_the_fast_decode_too(tmp_path, pictures):
    pictures.noise(800, 600).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-2000])
    assert "truncated" in inspect_file(tmp_path / "a.jpg").reason


@pytest.mark.parametrize("content", [b"just text", b"<!DOCTYPE html><html>404</html>", b"<svg/>", b"\x00\x05\x16\x07"])
def test_what_is_not_an_image_is_said(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert "not an image" in inspect_file(tmp_path / "a.jpg").reason


def test_a_wrong_suffix_is_no_fault(good):
    shutil.copy(good / "good.png", good / "other.jpg")
    assert inspect_file(good / "other.jpg").reason is None


def test_a_missing_file_and_a_folder_have_a_reason(tmp_path):
    assert inspect_file(tmp_path / "nowhere.jpg").reason == "No such file or directory"
    assert inspect_file(tmp_path).reason


def test_too_many_pixels_is_a_reason_and_no_crash(good, monkeypatch):
    monkeypatch.setattr("imgclf.data.images.MAX_PIXELS", 100)
    assert "60 x 40 pixels" in inspect_file(good / "good.png").reason


def test_files_come_back_in_the_order_given_each_counted_once(tmp_path, pictures):
    names = [f"{i}.png" for i in range(40)]
    pictures.files(tmp_path, *names)
    random.Random(0).shuffle(names)
    steps = []
    found = survey.inspect(tmp_path, [Sample(n, ("a",)) for n in names], lambda: steps.append(1))
    assert [c.path for c in found] == names
    assert len(steps) == 40


@pytest.fixture
def planted(tmp_path, pictures, make_config):
    """One duplicate, one leak, one conflict and one bad file among twelve good ones."""
    root = tmp_path / "data"
    names = [f"{part}/{label}/{i}.png" for part in ("train", "valid") for label in "ab" for i in range(3)]
    pictures.files(root, *names)
    shutil.copy(root / "train/a/0.png", root / "train/a/again.png")
    shutil.copy(root / "train/a/1.png", root / "valid/a/leak.png")
    shutil.copy(root / "train/b/2.png", root / "train/a/conflict.png")
    (root / "train/b/bad.png").write_text("no")
    return make_config(root)


def findings(cfg):
    found = scan.scan(cfg)
    looked_at = survey.inspect(found.root, found.items)
    same = alike.find(found.root, looked_at)
    divided = leaks.divide(cfg, checks.without_bad(found, looked_at), same, cfg.data.on_leak == "fix")
    return checks.report(found, divided, looked_at, same)


def test_planted_problems_are_found_and_nothing_else(planted):
    report = findings(planted)
    assert report["n_images"] == 16
    assert [b["path"] for b in report["bad"]] == ["train/b/bad.png"]
    assert sorted(report["duplicates"]) == [
        ["train/a/0.png", "train/a/again.png"],
        ["train/a/1.png", "valid/a/leak.png"],
        ["train/a/conflict.png", "train/b/2.png"],
    ]
    assert report["leaks"] == [{"train": "train/a/1.png", "valid": "valid/a/leak.png", "kind": "exact"}]
    assert report["conflicts"] == [["train/a/conflict.png", "train/b/2.png"]]


def test_clean_data_has_no_findings(tmp_path, pictures, make_config):
    pictures.files(tmp_path / "data", *(f"{label}/{i}.png" for label in "ab" for i in range(6)))
    report = findings(make_config(tmp_path / "data"))
    assert [report[k] for k in ("bad", "duplicates", "leaks", "conflicts", "warnings")] == [[]] * 5
    assert report["classes"] == {"a": 6, "b": 6}


def test_small_classes_are_warned_about(tmp_path, pictures, make_config):
    pictures.files(tmp_path / "data", "a/1.png", "b/1.png", "b/2.png", *(f"c/{i}.png" for i in range(5)))
    found = findings(make_config(tmp_path / "data"))
    assert found["warnings"][:2] == ["class 'a' has 1 image", "class 'b' has 2 images"]
    assert found["imbalance"] == {"largest": "c", "smallest": "a", "ratio": 5.0}


def test_a_leak_into_the_test_split_counts():
    part = {p: (Sample(p, ("a",), p),) for p in ("train", "valid", "test")}
    made = split.Dataset(None, ("a",), **part)
    none = np.empty((0, 2), dtype=int)
    both = Alike((("test", "train"), ("valid",)), none)
    assert leaks.find(made, both) == [{"train": "train", "valid": "test", "kind": "exact"}]
    assert leaks.find(made, Alike((("test", "valid"), ("train",)), none)) == []


def test_labels_without_training_images_are_in_the_warnings():
    made = split.Dataset(None, ("a",), (), (), left_out=(Sample("1", ("c",), "valid"), Sample("2", ("c",), "test")))
    assert checks.left_out_note(made) == "2 validation or test images are left out: no training image of 'c'"


def test_bad_files_are_no_duplicates_of_each_other(tmp_path):
    empty = [FileCheck(name, "empty file", 0, "same") for name in "ab"]
    assert alike.find(tmp_path, empty).groups == []


def test_without_bad_keeps_the_rest_in_order():
    items = Samples(None, tuple(Sample(n, ("a",)) for n in "abc"), "x")
    kept = checks.without_bad(items, [FileCheck("b", "broken", 1, "")])
    assert [s.path for s in kept.items] == ["a", "c"]


# Fingerprint


def test_the_fingerprint_ignores_order_but_no_byte_and_no_name(tmp_path, pictures):
    pictures.files(tmp_path, "1.png", "2.png", "3.png")

    def take(*names):
        return checks.fingerprint(survey.inspect(tmp_path, [Sample(n, ("a",)) for n in names]))

    first = take("1.png", "2.png", "3.png")
    assert take("3.png", "1.png", "2.png") == first
    assert take("1.png", "2.png") != first
    content = bytearray((tmp_path / "2.png").read_bytes())
    content[-1] ^= 1
    (tmp_path / "2.png").write_bytes(content)
    assert take("1.png", "2.png", "3.png") != first


def test_the_fingerprint_sees_two_files_swapped(tmp_path, pictures):
    pictures.files(tmp_path, "1.png", "2.png")
    items = [Sample("1.png", ("a",)), Sample("2.png", ("b",))]
    first = checks.fingerprint(survey.inspect(tmp_path, items))
    (tmp_path / "1.png").rename(tmp_path / "x")
    (tmp_path / "2.png").rename(tmp_path / "1.png")
    (tmp_path / "x").rename(tmp_path / "2.png")
    assert checks.fingerprint(survey.inspect(tmp_path, items)) != first


# What every command does first


def test_bad_images_are_left_out_and_said(planted, capsys):
    made = prepare.prepare(planted, Terminal())
    err = capsys.readouterr().err
    assert "1 of 16 images cannot be decoded" in err
    assert "train/b/bad.png: not an image" in err
    assert "valid/a/leak.png = train/a/1.png" in err
    assert "there twice with different labels" in err
    assert "train/b/bad.png" not in {s.path for s in made.dataset.train}
    assert "train/b/bad.png" not in made.split_csv


def test_bad_images_end_the_run_where_that_is_wanted(planted, make_config):
    cfg = make_config(planted.data.path, **{"data.on_bad_image": "fail"})
    with pytest.raises(DataError, match=r"train/b/bad\.png: not an image") as caught:
        prepare.prepare(cfg, Terminal(quiet=True))
    assert "data.on_bad_image=skip" in caught.value.hint


def test_what_was_passed_over_is_said(tmp_path, pictures, make_config, capsys):
    root = pictures.files(tmp_path / "data", *(f"{label}/{i}.png" for label in "ab" for i in range(3)))
    (root / "a" / "notes.txt").touch()
    prepare.prepare(make_config(root), Terminal())
    assert "passed over 1 other files and folders: a/notes.txt" in capsys.readouterr().err


@pytest.mark.real
def test_every_bad_file_of_the_shared_pack_is_found_and_no_good_one(odd_images):
    wrong = [p.name for p in (odd_images / "bad").iterdir() if not inspect_file(p).reason]
    good = [p for p in (odd_images / "good").iterdir() if p.suffix != ".avif" or "AVIF" in images._built()]
    wrong += [f"{p.name}: {r}" for p in good if (r := inspect_file(p).reason)]
    assert wrong == []
