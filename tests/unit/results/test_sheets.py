"""A sheet for each kind of finding, and only for those there are."""

import shutil

import pytest
from PIL import Image
from support import photo

from imgclf.errors import UserError
from imgclf.results import sheets
from imgclf.workflow.look import check


@pytest.fixture
def planted(tmp_path):
    root = tmp_path / "data"
    for part in ("train", "valid"):
        for j, label in enumerate("ab"):
            (root / part / label).mkdir(parents=True)
            for k in range(3):
                photo(100 * (part == "valid") + 10 * j + k, 64, 48).save(root / part / label / f"{k}.png")
    shutil.copy(root / "train/a/0.png", root / "valid/a/$leak_$.png")
    photo(1, 64, 48).resize((90, 70)).save(root / "train/b/conflict.png")
    photo(99, 300, 30).save(root / "train/b/wide.png")
    (root / "train/b/bad.png").touch()
    return root


def test_each_kind_there_is_gets_a_sheet_that_opens(planted, make_config, tmp_path):
    found = check(make_config(planted), out=tmp_path / "new" / "findings")
    names = ["duplicates.png", "near_duplicates.png", "leaks.png", "conflicts.png", "aspect.png"]
    assert found["sheets"] == [str(tmp_path / "new" / "findings" / name) for name in names]
    assert sorted(p.name for p in (tmp_path / "new" / "findings").iterdir()) == sorted(names)
    for path in found["sheets"]:
        with Image.open(path) as image:
            image.load()
            assert len(image.convert("RGB").getcolors(1 << 24)) > 50


def test_clean_data_gets_none_and_no_folder(planted, make_config, tmp_path):
    for name in ("valid/a/$leak_$.png", "train/b/conflict.png", "train/b/wide.png"):
        (planted / name).unlink()
    assert check(make_config(planted), out=tmp_path / "findings")["sheets"] == []
    assert not (tmp_path / "findings").exists()


def test_without_a_folder_there_is_no_sheet(planted, make_config):
    assert "sheets" not in check(make_config(planted))


def test_a_folder_in_the_data_is_refused(planted, make_config):
    with pytest.raises(UserError, match="never writes there"):
        check(make_config(planted), out=planted / "findings")


def test_a_long_path_keeps_its_end():
    first, *_, last = sheets._folded("a" * 200 + "/name.jpg")
    assert (first[0], last[-9:]) == ("…", "/name.jpg")
    assert sheets._folded("short.jpg") == ["short.jpg"]


def test_only_so_many_groups_are_shown_and_the_rest_is_said():
    assert sheets._shown(3, 24) == "3"
    assert sheets._shown(100, 24) == "the first 24 of 100"
