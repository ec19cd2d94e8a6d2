"""Very few images, very many classes: it works, or it is said before anything is trained."""

import os

import pytest
from support import run_here

from imgclf.data import scan, split
from imgclf.data.samples import Sample, Samples
from imgclf.errors import DataError


def test_two_images_a_class(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path / "d", *(f"{c}/{i}.png" for c in "ab" for i in range(2)))
    made = split.split(make_config(root), scan.scan(make_config(root)))
    assert ([s.label for s in made.train], [s.label for s in made.valid]) == (["a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    "names", [("IMG.png", "x.png"), ("IMG_1.png", "IMG_2.png"), ("deep/1.png", "deep/2.png")], ids=lambda n: n[0]
)
def test_one_class_is_a_clear_error_before_training(tmp_path, pictures, names):
    root = pictures.files(tmp_path / "d", *(f"cats/{name}" for name in names))
    done = run_here("train", "-d", root, "--set", "model.pretrained=false", cwd=tmp_path)
    said = " ".join(done.stderr.split())
    assert done.returncode == 3
    assert f"only one class, 'cats' with 2 images, under {root} (looked for: one folder per class)" in said
    assert "--set data.labels=regex" in said
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("loose", [(), ("cover.png",), ("pets/notes.txt", ".hidden/x.png")])
def test_one_folder_whose_file_names_hold_the_labels_is_not_one_class(tmp_path, pictures, make_config, loose):
    root = pictures.files(tmp_path / "pets", "images/pug_1.png", "images/beagle_7.png", "images/odd.png")
    for name in loose:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    assert scan.scan(make_config(root)).class_counts == {"beagle": 1, "pug": 1}


def test_one_folder_of_one_class_can_be_judged(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path / "d", "cats/IMG_1.png", "cats/2.png")
    assert scan.scan(make_config(root), least_classes=1).class_counts == {"cats": 2}


def test_a_class_with_one_image_trains_and_is_named(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path / "d", "c/0.png", *(f"{k}/{i}.png" for k in "ab" for i in range(4)))
    made = split.split(make_config(root), scan.scan(make_config(root)))
    assert "c" in {s.label for s in made.train}
    assert split.notes(made) == ["1 of 3 classes have no validation image: 'c'"]


def test_fewer_images_than_a_batch(tmp_path, pictures):
    root = pictures.files(tmp_path / "d", *(f"{c}/{i}.png" for c in "ab" for i in range(2)))
    settings = ["-b", "64", "-a", "resnet18", "--size", "16", "--presize", "20", "--set", "data.workers=0"]
    settings += ["--set", "model.pretrained=false"]
    done = run_here("train", "-d", root, *settings, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_ten_thousand_classes_are_split(make_config):
    items = tuple(Sample(f"{c:05d}/{i}.png", (f"{c:05d}",)) for c in range(10_000) for i in range(2))
    made = split.split(make_config("/d"), Samples("/d", items, "test"))
    assert (len(made.classes), len(made.train), len(made.valid)) == (10_000, 10_000, 10_000)
    assert made.targets(made.valid) == list(range(10_000))


def test_a_thousand_class_folders_are_found(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path / "d", "0000/0.png")
    for c in range(1000):
        (root / f"{c:04d}").mkdir(exist_ok=True)
        for i in range(2):
            if c or i:
                os.link(root / "0000" / "0.png", root / f"{c:04d}" / f"{i}.png")
    assert len(scan.scan(make_config(root)).class_counts) == 1000


def test_one_image_a_class_leaves_none_to_validate(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path / "d", "a/0.png", "b/0.png")
    with pytest.raises(DataError, match="left to validate on"):
        split.split(make_config(root), scan.scan(make_config(root)))
