"""Parquet tables, and image paths that leave the table's folder."""

import os
import sys

import pandas as pd
import pytest

from imgclf.data import survey, tables
from imgclf.data.scan import scan
from imgclf.errors import DataError, PackageError


@pytest.fixture
def photos(tmp_path, pictures):
    return pictures.files(tmp_path / "photos", *(f"{i}.png" for i in range(4)))


def test_a_parquet_table_is_read_as_text(photos, make_config):
    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    names = [f"{i}.png" for i in range(4)]
    rows = {"image": names, "label": [1, 2, 1, 2], "is_valid": [False, False, True, None]}
    pd.DataFrame(rows).to_parquet(photos / "t.parquet")
    found = scan(make_config(photos))
    assert [(s.path, s.label, s.split) for s in found.items] == [
        ("0.png", "1", "train"), ("1.png", "2", "train"), ("2.png", "1", "valid"), ("3.png", "2", None),
    ]  # fmt: skip


def test_a_broken_parquet_table_is_said(photos, make_config):
    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    (photos / "t.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="cannot read the table"):
        scan(make_config(photos))


def test_without_pyarrow_the_extra_is_named(photos, make_config, monkeypatch):
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    (photos / "t.parquet").write_bytes(b"")
    with pytest.raises(PackageError, match="needs the package pyarrow") as caught:
        scan(make_config(photos))
    assert "imgclf[parquet]" in caught.value.hint


@pytest.mark.parametrize("outside", ["../secret.png", "a/../../secret.png", "{parent}/secret.png"])
def test_a_path_outside_is_refused_unless_allowed(photos, make_config, pictures, outside):
    pictures.files(photos.parent, "secret.png")
    name = outside.format(parent=photos.parent)
    (photos / "a").mkdir()
    (photos / "t.csv").write_text(f"image,label\n0.png,a\n{name},b\n")
    with pytest.raises(DataError) as caught:
        scan(make_config(photos))
    assert f"row 3: the image '{name}' is outside" in caught.value.message
    assert "data.allow_outside=true" in caught.value.hint
    assert len(scan(make_config(photos, **{"data.allow_outside": True})).items) == 2


def test_absolute_paths_inside_and_a_configured_folder_elsewhere_are_fine(photos, make_config):
    (photos / "t.csv").write_text(f"image,label\n{photos}/0.png,a\n1.png,b\n")
    assert len(scan(make_config(photos)).items) == 2
    tables = photos.parent / "tables"
    tables.mkdir()
    (tables / "t.csv").write_text("image,label\n0.png,a\n1.png,b\n")
    assert len(scan(make_config(tables / "t.csv", **{"data.image_folder": "../photos"})).items) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("name", ["link.png", "b/1.png", "1.png"])
def test_a_link_that_leads_outside_is_refused_unless_allowed(photos, make_config, pictures, name):
    """A file, a folder in the path, and a folder that is only found by looking."""
    pictures.files(photos.parent / "private", "1.png")
    photos.joinpath("1.png").unlink()
    (photos / "link.png").symlink_to(photos.parent / "private" / "1.png")
    (photos / "b").symlink_to(photos.parent / "private", target_is_directory=True)
    (photos / "t.csv").write_text(f"image,label\n{name},a\n{name[:-4]}.none,b\n")
    with pytest.raises(DataError, match="is outside the table's folder"):
        scan(make_config(photos))
    assert len(scan(make_config(photos, **{"data.allow_outside": True})).items) == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_stay_inside_are_fine_also_where_the_folder_itself_is_reached_by_one(photos, make_config):
    (photos / "link.png").symlink_to("0.png")
    (photos / "t.csv").write_text("image,label\nlink.png,a\n1.png,b\n")
    (photos.parent / "alias").symlink_to(photos, target_is_directory=True)
    for root in (photos, photos.parent / "alias"):
        assert len(scan(make_config(root)).items) == 2
    (photos.parent / "tables").mkdir()
    (photos.parent / "tables" / "t.csv").write_text("image,label\nlink.png,a\n1.png,b\n")
    named = {"data.image_folder": str(photos.parent / "alias")}
    assert len(scan(make_config(photos.parent / "tables" / "t.csv", **named)).items) == 2


@pytest.mark.parametrize(
    "name",
    ["C:\\x.png", "c:/x.png", "\\\\server\\share\\x.png", "//server/share/x.png", "\\x.png", "\\\\?\\C:\\x.png",
     "https://host/x.png", "file:///etc/passwd", "s3://bucket/x.png"],
)  # fmt: skip
def test_drives_servers_and_addresses_are_refused_before_anything_is_looked_up(photos, make_config, monkeypatch, name):
    (photos / "t.csv").write_text(f"image,label\n{name},a\n1.png,b\n")
    monkeypatch.setattr(tables, "_image_folder", lambda *_: pytest.fail("looked up"))
    with pytest.raises(DataError, match=r"row 2: the image '.*' is outside"):
        scan(make_config(photos))


# Cells that are missing, too many, or no names


def test_delimiters_at_the_end_of_rows_shift_no_column(photos, make_config):
    (photos / "t.csv").write_text("image,label\n0.png,a,\n1.png,b,\n")
    assert [(s.path, s.label) for s in scan(make_config(photos)).items] == [("0.png", "a"), ("1.png", "b")]


def test_more_cells_than_columns_are_no_labels(photos, make_config):
    (photos / "t.csv").write_text("image,label\n0.png,a,x\n1.png,b,y\n")
    with pytest.raises(DataError, match="more cells than its header has columns"):
        scan(make_config(photos))


def test_two_columns_of_one_name_are_refused(photos, make_config):
    (photos / "t.csv").write_text("image,label, label\n0.png,a,b\n1.png,b,a\n")
    with pytest.raises(DataError, match="two columns 'label'"):
        scan(make_config(photos))


def test_a_row_without_an_image_is_passed_over_and_said(photos, make_config):
    (photos / "t.csv").write_text("image,label\n0.png,a\n,\n1.png,b\n")
    found = scan(make_config(photos))
    assert [s.path for s in found.items] == ["0.png", "1.png"]
    assert found.ignored == ("row 3 (no image)",)
    (photos / "t.csv").write_text("image,label\n0.png,a\n,\n../1.png,b\n")
    with pytest.raises(DataError, match=r"row 4: the image '../1.png' is outside"):
        scan(make_config(photos))


def test_a_row_without_an_image_makes_one_hot_columns_no_several_labels(photos, make_config):
    (photos / "t.csv").write_text("image,cat,dog\n0.png,1,0\n1.png,0,1\n,,\n")
    assert not scan(make_config(photos)).multi_label


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "a\0b.png"], ids=["too long", "NUL"])
def test_a_name_no_file_can_have_is_a_bad_image(photos, make_config, name):
    (photos / "t.csv").write_text(f"image,label\n{name},a\n1.png,b\n", encoding="utf-8")
    found = scan(make_config(photos))
    checked = survey.inspect(found.root, found.items)
    assert [bool(c.reason) for c in checked] == [True, False]
    (photos / "t.csv").write_text(f"image,label\n{name},a\nnone.png,b\n", encoding="utf-8")
    assert len(scan(make_config(photos)).items) == 2


def test_a_space_that_is_part_of_a_name_stays(photos, make_config):
    (photos / "1.png").rename(photos / " 1.png")
    (photos / "t.csv").write_text("label,image\na,0.png\nb, 1.png\n")
    assert [s.path for s in scan(make_config(photos)).items] == ["0.png", " 1.png"]


def test_zero_and_one_as_numbers_with_a_point_are_a_split(photos, make_config):
    (photos / "t.csv").write_text("image,label,is_valid\n0.png,a,1.0\n1.png,b,0.0\n")
    assert [s.split for s in scan(make_config(photos)).items] == ["valid", "train"]


def test_a_table_that_is_named_is_read_whatever_folders_there_are(photos, make_config, pictures):
    pictures.files(photos / "one", "0.png")
    pictures.files(photos / "two", "0.png")
    (photos / "t.csv").write_text("image,label\n0.png,a\n1.png,b\n")
    assert "one folder per class" in scan(make_config(photos)).layout
    assert "table t.csv" in scan(make_config(photos, **{"data.csv": "t.csv"})).layout
