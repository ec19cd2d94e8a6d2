"""Every layout is recognised, named and read; what is not used is listed."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclf.data.folders import from_folders
from imgclf.data.samples import Sample
from imgclf.data.scan import scan as scan_all
from imgclf.data.walk import SYSTEM_NAMES
from imgclf.errors import ConfigError, DataError


@pytest.fixture
def scan(make_config):
    def run(path, **settings):
        return scan_all(make_config(path, **{f"data.{k}": v for k, v in settings.items()}))

    return run


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def touch(root, *names):
    """Empty files: scanning must not open an image."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def table(root, text, name="labels.csv", encoding="utf-8"):
    path = root / name
    path.write_bytes(text.encode(encoding))
    return path


def labels(found):
    return {s.path: s.label for s in found.items}


def splits(found):
    return {s.path: s.split for s in found.items}


# Folders


def test_one_folder_per_class(root, scan):
    found = scan(touch(root, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert found.class_counts == {"cat": 2, "dog": 1}
    assert set(splits(found).values()) == {None}
    assert (found.layout, found.root) == ("one folder per class", root)


@pytest.mark.parametrize("train", ["train", "Train", "training"])
@pytest.mark.parametrize("valid", ["valid", "val", "validation", "VAL"])
def test_split_folders_by_any_of_their_names(root, scan, train, valid):
    found = scan(touch(root, f"{train}/a/1.jpg", f"{train}/b/1.jpg", f"{valid}/a/2.jpg", f"{valid}/b/2.jpg"))
    assert found.class_counts == {"a": 2, "b": 2}
    assert Counter(splits(found).values()) == {"train": 2, "valid": 2}
    assert "train" in found.layout and "valid" in found.layout


def test_a_test_folder_is_a_split_too(root, scan):
    found = scan(touch(root, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "test/b/3.jpg"))
    assert splits(found)["test/b/3.jpg"] == "test"
    assert labels(found)["test/b/3.jpg"] == "b"


def test_train_and_test_without_validation_are_splits_and_not_classes(root, scan):
    found = scan(touch(root, "train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "test/b/2.jpg"))
    assert set(found.class_counts) == {"a", "b"}
    assert Counter(splits(found).values()) == {"train": 2, "test": 2}


@pytest.mark.parametrize("others", [("bus", "car"), ("test", "car"), ("valid", "bus")])
def test_train_may_be_a_class_among_others(root, scan, others):
    found = scan(touch(root, "train/1.jpg", *(f"{name}/1.jpg" for name in others)))
    assert set(found.class_counts) == {"train", *others}
    assert set(splits(found).values()) == {None}


def test_folders_inside_a_class_belong_to_it(root, scan):
    found = scan(touch(root, "cat/indoors/close/1.jpg", "cat/2.jpg", "dog/walks/1.jpg"))
    assert found.class_counts == {"cat": 2, "dog": 1}


@pytest.mark.parametrize(
    "name",
    [
        "name with spaces",
        " leading",
        "a#b%20",
        "кошка",
        "猫",
        "🐱",
        "it's",
        'say "a"',
        "a,b;c",
        "x" * 200,
        "-dash",
        "[b]",
    ],
)
def test_awkward_names_of_classes_and_files_stay_as_they_are(root, scan, name):
    found = scan(touch(root, f"{name}/{name}.jpg", "other/1.jpg"))
    assert labels(found) == {f"{name}/{name}.jpg": name, "other/1.jpg": "other"}


def test_two_spellings_of_one_accented_name_are_two_files(root, scan):
    composed = unicodedata.normalize("NFC", "café_1.jpg")
    decomposed = unicodedata.normalize("NFD", "café_1.jpg")
    touch(root, f"a/{composed}", f"a/{decomposed}", "b/1.jpg")
    if len(list((root / "a").iterdir())) < 2:
        pytest.skip("this file system takes both spellings for one name")
    assert len(scan(root).items) == 3


@pytest.mark.parametrize("suffix", [".JPG", ".Jpeg", ".png", ".PNG", ".webp", ".bmp", ".tif", ".TIFF", ".gif"])
def test_suffixes_count_in_any_case(root, scan, suffix):
    assert len(scan(touch(root, f"a/1{suffix}", "b/1.jpg")).items) == 2


def test_hidden_system_and_other_files_are_passed_over_and_listed(root, scan):
    found = scan(
        touch(
            root,
            "a/1.jpg",
            "b/1.jpg",
            ".ipynb_checkpoints/a-checkpoint.jpg",
            "a/.ipynb_checkpoints/1-checkpoint.jpg",
            "__MACOSX/a/._1.jpg",
            "a/._1.jpg",
            "a/.DS_Store",
            "a/notes.txt",
            "a/drawing.svg",
            "b/@eaDir/thumb.jpg",
        )
    )
    assert found.class_counts == {"a": 1, "b": 1}
    assert set(found.ignored) == {
        ".ipynb_checkpoints/",
        "a/.ipynb_checkpoints/",
        "__MACOSX/",
        "a/._1.jpg",
        "a/.DS_Store",
        "a/notes.txt",
        "a/drawing.svg",
        "b/@eaDir/",
    }


def test_images_in_no_class_folder_are_listed(root, scan):
    found = scan(touch(root, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "unlabelled/1.jpg", "cover.jpg"))
    assert len(found.items) == 3
    assert set(found.ignored) == {"unlabelled/1.jpg (in no class folder)", "cover.jpg (in no class folder)"}


def test_an_empty_class_folder_is_no_class(root, scan):
    touch(root, "a/1.jpg", "b/1.jpg")
    (root / "c").mkdir()
    assert set(scan(root).class_counts) == {"a", "b"}


def test_the_order_is_the_same_wherever_the_files_lie(root, scan):
    names = [f"{c}/{i}.jpg" for c in "ba" for i in (3, 1, 2)]
    assert [s.path for s in scan(touch(root, *names)).items] == sorted(names)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_a_folder_above_does_not_repeat_its_images(root, scan):
    touch(root, "a/1.jpg", "b/1.jpg")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    found = scan(root)
    assert len(found.items) == 2
    assert found.ignored == ("a/loop/",)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_to_classes_and_images_elsewhere_are_followed(root, scan, tmp_path):
    touch(tmp_path / "store", "cats/1.jpg", "one.jpg")
    touch(root, "b/1.jpg")
    (root / "a").symlink_to(tmp_path / "store" / "cats", target_is_directory=True)
    (root / "b" / "2.jpg").symlink_to(tmp_path / "store" / "one.jpg")
    assert scan(root).class_counts == {"a": 1, "b": 2}


@pytest.mark.skipif(os.name != "posix", reason="such names are possible on POSIX systems only")
def test_names_that_are_not_utf_8_are_listed_and_not_used(root, scan):
    touch(root, "a/1.jpg", "b/1.jpg")
    try:
        (root / os.fsdecode(b"a/caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = scan(root)
    assert len(found.items) == 2
    assert found.ignored == ("a/caf\N{REPLACEMENT CHARACTER}.jpg",)


# File names


def test_labels_from_file_names(root, scan):
    found = scan(touch(root, "great_pyrenees_173.jpg", "Bengal_1.JPG", "mariadb.mat"))
    assert labels(found) == {"great_pyrenees_173.jpg": "great_pyrenees", "Bengal_1.JPG": "Bengal"}
    assert "file names" in found.layout
    assert found.ignored == ("mariadb.mat",)


def test_names_that_do_not_match_are_listed(root, scan):
    found = scan(touch(root, "a_1.jpg", "b_1.jpg", "cover.jpg", "_2.jpg"), labels="regex", pattern=r"^([a-z]*)_")
    assert set(found.ignored) == {"cover.jpg (name does not match)", "_2.jpg (name does not match)"}
    assert len(found.items) == 2


def test_no_matching_name_shows_the_first_one(root, scan):
    with pytest.raises(DataError, match=r"the first name is 'IMG\.jpg'") as caught:
        scan(touch(root, "IMG.jpg"))
    assert "data.pattern" in caught.value.hint


def test_the_pattern_sees_the_file_name_alone(root, scan):
    found = scan(touch(root, "x_9/a_1.jpg", "x_9/b_1.jpg"), labels="regex")
    assert set(found.class_counts) == {"a", "b"}


def test_flat_split_folders_keep_their_split_when_the_label_is_in_the_name(root, scan):
    found = scan(touch(root, "train/a_1.jpg", "train/b_1.jpg", "valid/a_2.jpg", "test/b_3.jpg"))
    assert labels(found)["valid/a_2.jpg"] == "a"
    assert splits(found) == {
        "train/a_1.jpg": "train",
        "train/b_1.jpg": "train",
        "valid/a_2.jpg": "valid",
        "test/b_3.jpg": "test",
    }


@pytest.mark.parametrize(("pattern", "said"), [("(", "not a regular expression"), ("abc", "has no group")])
def test_a_bad_pattern_is_a_configuration_error(root, scan, pattern, said):
    with pytest.raises(ConfigError, match=said) as caught:
        scan(touch(root, "a_1.jpg"), labels="regex", pattern=pattern)
    assert "data.pattern" in caught.value.message


# Tables


@pytest.fixture
def photos(root):
    return touch(root, "1.jpg", "2.jpg", "3.jpg", "pics/4.jpg")


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("labels.csv", "image,label\n1.jpg,a\n2.jpg,b\n", "utf-8"),
        ("labels.csv", "image,label\n1.jpg,a\n2.jpg,b\n", "utf-8-sig"),
        ("labels.csv", "image,label\r\n1.jpg,a\r\n2.jpg,b\r\n", "utf-8"),
        ("labels.csv", "image, label\n1.jpg, a\n2.jpg, b\n", "utf-8"),
        ("labels.csv", "label, image\na, 1.jpg\nb, 2.jpg\n", "utf-8"),
        ("labels.csv", '"label","n","image"\n"a","1","1.jpg"\n"b","2","2.jpg"', "utf-8"),
        ("labels.tsv", "image\tlabel\n1.jpg\ta\n2.jpg\tb\n", "utf-8"),
        ("LABELS.CSV", "fname,class\n1.jpg,a\n2.jpg,b\n", "utf-8"),
        ("labels.csv", "Filename,Category\n1.jpg,a\n2.jpg,b\n", "utf-8"),
    ],
)
def test_tables_as_people_write_them(photos, scan, name, text, encoding):
    path = table(photos, text, name, encoding)
    for source in (photos, path):
        found = scan(source)
        assert labels(found) == {"1.jpg": "a", "2.jpg": "b"}
        assert found.root == photos
        assert name in found.layout


def test_labels_that_look_like_numbers_or_nothing_stay_words(photos, scan):
    found = scan(table(photos, "image,label\n1.jpg,01\n2.jpg,NA\n3.jpg,null\npics/4.jpg,1.0\n"))
    assert sorted(found.class_counts) == ["01", "1.0", "NA", "null"]


@pytest.mark.parametrize("name", ["is_valid", "valid", "split", "Split"])
def test_the_split_column_is_recognised(photos, scan, name):
    found = scan(table(photos, f"image,label,{name}\n1.jpg,a,False\n2.jpg,b,True\n"))
    assert splits(found) == {"1.jpg": "train", "2.jpg": "valid"}


@pytest.mark.parametrize(
    ("value", "split"),
    [
        ("True", "valid"), ("false", "train"), ("1", "valid"), ("0", "train"), ("TRAIN", "train"), ("val", "valid"),
        ("training", "train"), ("Validation", "valid"), ("test", "test"), (" test ", "test"), ("", None),
    ],
)  # fmt: skip
def test_split_values(photos, scan, value, split):
    found = scan(table(photos, f"image,label,part\n1.jpg,a,{value}\n2.jpg,b,train\n"), valid_column="part")
    assert splits(found)["1.jpg"] == split
    assert all(s.split is None or isinstance(s.split, str) for s in found.items)


def test_a_row_that_ends_early_has_no_split_and_no_label(photos, scan):
    found = scan(table(photos, "image,label,split\n1.jpg,a,train\n2.jpg,b\n3.jpg\n"))
    assert splits(found) == {"1.jpg": "train", "2.jpg": None}
    assert found.ignored == ("3.jpg (no label)",)


def test_a_bad_split_value_names_table_column_and_value(photos, scan):
    with pytest.raises(DataError, match=r"labels\.csv, column split: 'perhaps' is no split"):
        scan(table(photos, "image,label,split\n1.jpg,a,perhaps\n2.jpg,b,train\n"))


@pytest.mark.parametrize("cell", ["", "  "])
def test_rows_without_a_label_are_listed(photos, scan, cell):
    found = scan(table(photos, f"image,label\n1.jpg,a\n2.jpg,b\n3.jpg,{cell}\n"))
    assert labels(found) == {"1.jpg": "a", "2.jpg": "b"}
    assert found.ignored == ("3.jpg (no label)",)


def test_an_image_with_two_rows_is_refused(photos, scan):
    with pytest.raises(DataError, match=r"1 images have more than one row, such as '1\.jpg'"):
        scan(table(photos, "image,label\n1.jpg,a\n./1.jpg,b\n"))


@pytest.mark.parametrize("key", ["image", "label", "valid"])
def test_a_missing_column_is_named_with_its_key_the_closest_and_all_there_are(photos, scan, key):
    text = "images_,labels_,splits_\n1.jpg,a,train\n2.jpg,b,valid\n"
    columns = {"image_column": "images_", "label_column": "labels_", "valid_column": "splits_"}
    with pytest.raises(DataError, match=rf"no column '{key}s' \(data\.{key}_column\)") as caught:
        scan(table(photos, text), **{**columns, f"{key}_column": f"{key}s"})
    assert key == "valid" or f"Did you mean '{key}s_'?" in caught.value.message
    assert "images_, labels_, splits_" in caught.value.hint


def test_the_folder_of_a_tables_images_is_found_even_if_its_first_one_is_missing(root, scan):
    touch(root, "pics/1.jpg", "pics/2.jpg", "other/9.jpg")
    found = scan(table(root, "image,label\n0.jpg,a\n1.jpg,a\n2.jpg,b\n"))
    assert set(labels(found)) == {"pics/0.jpg", "pics/1.jpg", "pics/2.jpg"}
    assert "pics/" in found.layout


def test_the_folder_of_a_tables_images_can_be_named(root, scan):
    touch(root, "pics/1.jpg", "more/1.jpg")
    found = scan(table(root, "image,label\n1.jpg,a\n2.jpg,b\n"), image_folder="more")
    assert set(labels(found)) == {"more/1.jpg", "more/2.jpg"}


def test_an_images_absolute_path_is_kept(root, scan, tmp_path):
    found = scan(table(root, f"image,label\n{tmp_path}/x.jpg,a\n2.jpg,b\n"), allow_outside=True)
    assert root / found.items[0].path == tmp_path / "x.jpg"


def test_a_table_goes_before_flat_split_folders(root, scan):
    touch(root, "train/1.jpg", "train/2.jpg", "test/3.jpg")
    table(root, "image,label\n1.jpg,a\n2.jpg,b\n", "train.csv")
    assert labels(scan(root)) == {"train/1.jpg": "a", "train/2.jpg": "b"}


def test_several_tables_must_be_named(photos, scan):
    table(photos, "image,label\n1.jpg,a\n2.jpg,b\n", "one.csv")
    table(photos, "image,label\n1.jpg,b\n2.jpg,c\n", "two.csv")
    with pytest.raises(DataError, match=r"one\.csv, two\.csv") as caught:
        scan(photos, labels="csv")
    assert "data.csv" in caught.value.hint
    assert set(scan(photos, labels="csv", csv="two.csv").class_counts) == {"b", "c"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot read"),
        (b"image,label\n", "no rows"),
        (b"\x89PNG\xff\xfe", "cannot read"),
        (b'a,"b\n1,2', "cannot"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(root, scan, content, said):
    (root / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        scan(root / "labels.csv")
    assert "labels.csv" in caught.value.message


def test_a_table_that_is_not_there_is_named(photos, scan):
    with pytest.raises(DataError, match=r"no table .*nope\.csv"):
        scan(photos, labels="csv", csv="nope.csv")


# Nothing to learn from


def test_a_path_that_is_not_there(tmp_path, scan):
    with pytest.raises(DataError, match=r"no such file or folder: .*nowhere") as caught:
        scan(tmp_path / "nowhere")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("names", [[], ["readme.txt"], ["a/readme.txt", "b/readme.txt"]])
def test_a_folder_without_images(root, scan, names):
    with pytest.raises(DataError, match="no labelled images"):
        scan(touch(root, *names))


@pytest.mark.parametrize("names", [["a/1.jpg", "a/2.jpg"], ["train/a/1.jpg", "valid/a/2.jpg"], ["a_1.jpg", "a_2.jpg"]])
def test_one_class_is_not_enough(root, scan, names):
    with pytest.raises(DataError, match=r"only one class, 'a' with 2 images"):
        scan(touch(root, *names), labels="regex" if "a_1.jpg" in names else "folder")


@pytest.mark.parametrize(
    ("name", "hint"), [("cat.JPG", "imgclf predict MODEL"), ("photos.zip", "unpack it"), ("photos.tar.gz", "unpack it")]
)
def test_an_image_or_an_archive_is_not_read_as_a_table(root, scan, name, hint):
    with pytest.raises(DataError, match=r"one image|an archive") as caught:
        scan(touch(root, name) / name)
    assert hint in caught.value.hint


def test_the_folder_of_one_class_is_told_to_be_one_too_deep(root, scan):
    with pytest.raises(DataError, match="only one class") as caught:
        scan(touch(root, "Bengal/Bengal_1.jpg", "Bengal/Bengal_2.jpg", "Birman/Birman_1.jpg") / "Bengal")
    assert f"name the one above: --data {root.resolve()};" in caught.value.hint


@pytest.mark.parametrize("layout", ["folder", "regex"])
def test_a_file_where_a_folder_is_needed(photos, scan, layout):
    with pytest.raises(DataError, match="is a file"):
        scan(table(photos, "image,label\n"), labels=layout)


def test_the_embedded_digits(make_config):
    found = scan_all(make_config("digits"))
    assert len(found.items) == 1797
    assert sorted(found.class_counts) == [str(n) for n in range(10)]


def test_digits_that_another_process_has_just_written_stay_as_they_are(tmp_path, monkeypatch):
    """Two first runs at once: the slower one must not take away what the other is reading."""
    from imgclf.data import digits

    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path))
    load = sklearn.datasets.load_digits

    def slowly():
        if not other:
            other.append(True)
            digits._write(tmp_path / "digits")  # the other process, from its beginning to its end
        return load()

    other: list[bool] = []
    monkeypatch.setattr(sklearn.datasets, "load_digits", slowly)
    monkeypatch.setattr(
        digits.shutil, "rmtree", lambda folder, **_: removed.append(folder.name) if folder.exists() else None
    )
    removed: list[str] = []
    assert sum(1 for _ in digits.folder().glob("*/*.png")) == digits.N_IMAGES
    assert [name.startswith(".digits.") for name in removed] == [True]  # its own copy alone


def test_digits_that_cannot_be_written_leave_nothing_behind(tmp_path, monkeypatch):
    from imgclf.data import digits

    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path))
    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(DataError, match="cannot write the embedded digits"):
        digits.folder()
    assert list(tmp_path.iterdir()) == []


def test_digits_that_are_there_in_part_are_written_anew(tmp_path, monkeypatch):
    from imgclf.data import digits

    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path))
    touch(tmp_path, "digits/0/0000.png")
    assert sum(1 for _ in digits.folder().glob("*/*.png")) == digits.N_IMAGES
    assert [p.name for p in tmp_path.iterdir()] == ["digits"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_to_each_other_are_not_followed_round(root, scan):
    touch(root, "a/1.jpg", "b/1.jpg")
    (root / "a" / "to_b").symlink_to(root / "b", target_is_directory=True)
    (root / "b" / "to_a").symlink_to(root / "a", target_is_directory=True)
    found = scan(root)
    assert sorted(s.path for s in found.items) == ["a/1.jpg", "a/to_b/1.jpg", "b/1.jpg", "b/to_a/1.jpg"]
    assert found.ignored == ("a/to_b/to_a/", "b/to_a/to_b/")


def test_a_folder_with_nothing_but_hidden_images_is_no_class(root, scan):
    touch(root, "photos/cat_1.jpg", "photos/dog_1.jpg", "notes/._cat_1.jpg", "notes/.thumbs/cat_1.jpg")
    assert scan(root).class_counts == {"cat": 1, "dog": 1}


@pytest.mark.parametrize("call", ["os.scandir", "pathlib.Path.iterdir"])
def test_a_folder_that_cannot_be_read_is_no_folder_without_images(root, scan, monkeypatch, call):
    touch(root, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    name = call.rpartition(".")[2]
    owner = os if name == "scandir" else Path
    real = getattr(owner, name)

    def refused(folder, *arguments):
        if Path(folder) == (root / "b" if name == "scandir" else root):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder, *arguments)

    monkeypatch.setattr(owner, name, refused)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        scan(root)


# Any name at all

names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0\r\n"), min_size=1, max_size=12).filter(
    lambda s: not s.startswith(".") and s.strip() and s not in SYSTEM_NAMES
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, names), min_size=1, max_size=6))
def test_the_label_of_a_class_folder_is_its_name(pairs):
    from pathlib import PurePosixPath

    paths = [PurePosixPath(label, f"{name}.jpg") for label, name in pairs]
    found = list(from_folders(paths))
    assert [s.label for s in found] == [label for label, _ in pairs]
    assert {s.split for s in found} == {None}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, names), min_size=2, max_size=6))
def test_the_label_below_split_folders_is_the_class(pairs):
    from pathlib import PurePosixPath

    tops = ["train", "val", *["train"] * 9]
    paths = [PurePosixPath(tops[i], label, f"{name}.jpg") for i, (label, name) in enumerate(pairs)]
    assert [(s.label, s.split) for s in from_folders(paths)] == [
        (label, "valid" if i == 1 else "train") for i, (label, _) in enumerate(pairs)
    ]


def test_samples_are_values():
    assert Sample("a", ("b",)) == Sample("a", ("b",), None)
    assert len({Sample("a", ("b",)), Sample("a", ("b",))}) == 1
