"""Paths as Windows writes them, read on any system; and nothing stored that another system could not read."""

import json
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from imgclf.data import folders, split
from imgclf.data.presize import Preprocess
from imgclf.data.samples import Sample
from imgclf.data.scan import scan
from imgclf.errors import DataError
from imgclf.results import page
from imgclf.shipping.fetch import scheme

NAMES = ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png"]


@pytest.fixture
def photos(tmp_path, pictures):
    return pictures.files(tmp_path / "photos", *NAMES)


def table(root, names, name="t.csv") -> None:
    rows = [f"{path},{path.replace(chr(92), '/').split('/')[-2]}" for path in names]
    (root / name).write_text("\n".join(["image,label", *rows]) + "\n", encoding="utf-8")


def as_windows(names) -> list[str]:
    return [str(PureWindowsPath(name)) for name in names]


def test_a_table_written_on_windows_gives_the_paths_of_one_written_elsewhere(photos, make_config):
    table(photos, NAMES)
    elsewhere = scan(make_config(photos / "t.csv")).items
    table(photos, as_windows(NAMES))
    assert "cats\\1.png" in (photos / "t.csv").read_text()
    assert scan(make_config(photos / "t.csv")).items == elsewhere
    assert [s.path for s in elsewhere] == NAMES


def test_both_kinds_of_stroke_in_one_table_and_in_the_folder_configured(photos, make_config):
    table(photos, ["photos/cats/1.png", "photos\\dogs\\2.png"])
    (photos / "t.csv").rename(photos.parent / "t.csv")
    assert [s.path for s in scan(make_config(photos.parent / "t.csv")).items] == [
        "photos/cats/1.png", "photos/dogs/2.png",
    ]  # fmt: skip
    (photos.parent / "t.csv").write_text("image,label\n1.png,a\n2.png,b\n")
    found = scan(make_config(photos.parent / "t.csv", **{"data.image_folder": "photos\\cats"}))
    assert [s.path for s in found.items] == ["photos/cats/1.png", "photos/cats/2.png"]


@pytest.mark.parametrize("name", ["..\\secret.png", "cats\\..\\..\\secret.png", "cats\\..\\../secret.png"])
def test_windows_strokes_lead_nowhere_outside(photos, make_config, pictures, name):
    pictures.picture().save(photos.parent / "secret.png")
    table(photos, ["cats/1.png", "dogs/1.png"])
    with (photos / "t.csv").open("a") as stream:
        stream.write(f"{name},a\n")
    with pytest.raises(DataError, match=r"row 4: .*is outside the table's folder"):
        scan(make_config(photos / "t.csv"))


def test_a_name_with_a_backslash_that_is_there_stays(photos, make_config, pictures):
    try:
        pictures.picture().save(photos / "odd\\name.png")
    except OSError:
        pytest.skip("this system has no such names")
    if not (photos / "odd\\name.png").is_file() or (photos / "odd").is_dir():
        pytest.skip("to this system the backslash is a stroke")
    (photos / "t.csv").write_text("image,label\nodd\\name.png,a\ncats/1.png,b\n")
    assert [s.path for s in scan(make_config(photos / "t.csv")).items] == ["odd\\name.png", "cats/1.png"]


def test_names_windows_reserves_are_images_and_classes_like_others(tmp_path, make_config, pictures):
    """On a system that has them; in the tables a run keeps they are text."""
    root = tmp_path / "photos"
    try:
        pictures.files(root, *(f"{label}/{name}.png" for label in ("con", "aux.d") for name in ("nul", "a:b", "com1")))
    except OSError:
        pytest.skip("this system has no such names")
    found = scan(make_config(root))
    assert {s.label for s in found.items} == {"con", "aux.d"}
    assert "con/a:b.png" in {s.path for s in found.items}


def test_classes_come_from_folders_whatever_the_system_calls_them():
    paths = [PurePosixPath(PureWindowsPath(f"{label}\\{i}.jpg").as_posix()) for label in "ab" for i in range(2)]
    assert [(s.path, s.label) for s in folders.from_folders(paths)] == [
        ("a/0.jpg", "a"), ("a/1.jpg", "a"), ("b/0.jpg", "b"), ("b/1.jpg", "b"),
    ]  # fmt: skip


def test_a_path_that_is_stored_joins_to_a_folder_of_either_system():
    sample = Sample("cats/1.png", ("cats",), "train")
    assert (PureWindowsPath("C:\\photos") / sample.path).as_posix() == "C:/photos/cats/1.png"
    assert (PureWindowsPath("\\\\server\\share") / sample.path) == PureWindowsPath("\\\\server\\share\\cats\\1.png")
    assert str(PurePosixPath("/photos") / sample.path) == "/photos/cats/1.png"


def test_what_a_scan_stores_has_no_backslash(photos, make_config, tmp_path):
    table(photos, as_windows(NAMES))
    samples = [Sample(s.path, s.labels, "train") for s in scan(make_config(photos / "t.csv")).items]
    dataset = split.Dataset(photos, ("cats", "dogs"), tuple(samples), ())
    text = split.to_csv(dataset, {})
    (tmp_path / "split.csv").write_text(text)
    assert "\\" not in text
    assert split.read_csv(tmp_path / "split.csv") == samples
    assert "\\" not in json.dumps(vars(Preprocess(32, "crop")), default=str)


@pytest.mark.parametrize("text", ["C:\\photos\\cat.jpg", "c:/photos/cat.jpg", "\\\\server\\share\\cat.jpg"])
def test_a_drive_is_no_address(text):
    assert scheme(text) is None


def test_a_report_names_no_home_of_windows():
    shown = page.without_home(r"<code>C:\Users\me\photos</code> C:\Users\mean", r"C:\Users\me")
    assert shown == r"<code>~\photos</code> C:\Users\mean"
