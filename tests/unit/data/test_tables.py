"""Parquet tables, and image paths that leave the table's folder."""

import os
import sys

import pandas as pd
import pytest

from imgclf.data import tables
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
