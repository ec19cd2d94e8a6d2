"""What arguments stand for."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_files

from imgclf.errors import DataError, UserError
from imgclf.shipping.fetch import Address
from imgclf.shipping.sources import Sources, Unreadable, images_at, images_under


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_files(
        tmp_path / "photos", "b.png", "a/2.JPG", "a/1.png", "a/deep/3.png", "c d/ü #.png", ".hidden/4.png", "a/.5.png"
    )


def names(*arguments, **more):
    return [str(source) for source in Sources(arguments, **more)]


ALL = ["photos/a/1.png", "photos/a/2.JPG", "photos/a/deep/3.png", "photos/b.png", "photos/c d/ü #.png"]


def test_a_folder_is_all_images_below_it_in_the_order_of_their_paths(folder):
    (folder / "notes.txt").write_text("no image")
    assert names("photos") == ALL == [str(path) for path in images_under(["photos"])]
    assert [str(path) for path in sorted(map(Path, ALL))] == ALL


@given(st.lists(st.lists(st.sampled_from(["a", "a.b", "A", "ü", "a b", "a-b"]), min_size=1, max_size=3), max_size=8))
@settings(max_examples=40, deadline=None)
def test_walking_gives_the_order_of_sorted_paths(tmp_path_factory, found):
    root = tmp_path_factory.mktemp("walk")
    for parts in found:
        folder = root.joinpath(*(f"{part}.d" for part in parts[:-1]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{parts[-1]}.png").touch()
    assert list(images_at(root)) == sorted(root.rglob("*.png"))


def test_a_systems_own_thumbnails_are_no_photographs(tmp_path):
    make_files(tmp_path, "a.png", "@eaDir/a.png")
    assert [path.name for path in images_at(tmp_path)] == ["a.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/a/*.png", ["photos/a/1.png"]), ("photos/**/*.png", [ALL[0], ALL[2], ALL[3], ALL[4]]),
        ("photos/[ab]*", ALL[:4]), ("photos/?.png", ["photos/b.png"]), ("photos/a", ALL[:3]),
    ],
)  # fmt: skip
def test_patterns_that_the_shell_did_not_expand(folder, pattern, expected):
    assert names(pattern) == expected


def test_home_and_names_that_only_look_like_patterns(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert names("~/b.png") == names("~/b*") == [str(folder / "b.png")]
    make_files(folder, "x[1].png", "x1.png")
    assert names("photos/x[1].png") == ["photos/x[1].png"]


def test_what_is_not_there_is_said_before_anything_is_read(folder):
    for argument, said in (("nothing.jpg", "no file or folder nothing.jpg"), ("photos/*.gif", "matches the pattern")):
        with pytest.raises(DataError, match=said.replace("*", r"\*")):
            Sources(("photos", argument))


def test_a_list_on_stdin_is_read_line_by_line(folder):
    lines = iter(
        [b"photos/b.png\n", b"\n", b"photos/a\r\n", b"gone.png\n", b"https://x.invalid/y.png\n", b"photos/[b].png"]
    )
    read = []

    class Stream(io.RawIOBase):
        def __next__(self):
            read.append(line := next(lines))
            return line

    found = iter(Sources(("-",), Stream()))
    assert str(next(found)) == "photos/b.png" and len(read) == 1
    rest = list(found)
    assert [str(source) for source in rest] == [*ALL[:3], "gone.png", "https://x.invalid/y.png", "photos/[b].png"]
    assert isinstance(rest[4], Unreadable) and "--allow-network" in rest[4].reason
    assert isinstance(next(iter(Sources(("-",), io.BytesIO(b"http://x/y.png"), True))), Address)
    assert not Sources(("-",), io.BytesIO()).repeatable
    with pytest.raises(UserError, match="twice"):
        Sources(("-", "-"))


def test_a_name_that_no_file_can_have_does_not_stop_the_others(folder):
    long = "x" * 5000 + ".png"
    found = list(Sources(("-",), io.BytesIO(f"{long}\nphotos/b.png\n".encode())))
    assert [str(source) for source in found] == [long, "photos/b.png"]
    with pytest.raises(DataError, match="no file or folder xxx"):
        images_under([long])


@pytest.mark.skipif(os.name == "nt", reason="names that are not text")
def test_names_that_are_not_text(folder):
    name = b"photos/\xff.png"
    Path("photos/b.png").rename(os.fsdecode(name))
    assert os.fsencode(str(next(iter(Sources(("-",), io.BytesIO(name + b"\n")))))) == name


def test_addresses_need_permission():
    with pytest.raises(UserError, match="network") as found:
        Sources(("http://x.invalid/y.png",))
    assert found.value.hint == "--allow-network"
    assert [*Sources(("HTTPS://x.invalid//y.png",), allow_network=True)] == [Address("HTTPS://x.invalid//y.png")]
    for address in ("file:///etc/passwd", "ftp://x/y.png", "data://x"):
        with pytest.raises(UserError, match="only http and https"):
            Sources((address,), allow_network=True)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may read everything")
def test_a_folder_that_cannot_be_read_is_named(folder):
    (folder / "a").chmod(0)
    try:
        found = list(Sources(("photos",)))
    finally:
        (folder / "a").chmod(0o700)
    assert found[0] == Unreadable("photos/a", "Permission denied")
