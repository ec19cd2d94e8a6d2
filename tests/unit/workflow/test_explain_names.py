"""What the pictures of explained images are called."""

from pathlib import Path

from imgclf.workflow.explain import _file_names


def test_no_picture_takes_anothers_place():
    paths = [Path(name) for name in ("a/x.jpg", "b/x.png", "x-2.jpg", "x.jpg")]
    found = _file_names(paths, ranked=False)
    assert found == ["x.png", "x-2.png", "x-2-2.png", "x-3.png"]
    assert _file_names(paths, ranked=True) == ["01-x.png", "02-x.png", "03-x-2.png", "04-x.png"]


def test_names_fit_any_file_system():
    long = [Path("猫" * 80 + f"{i}.jpg") for i in range(2)]
    for ranked in (False, True):
        found = _file_names(long, ranked)
        assert len(set(found)) == 2
        assert max(len(name.encode()) for name in found) < 240
