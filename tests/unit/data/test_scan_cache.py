"""The second check decodes nothing; a change is noticed; whatever happens to the cache, the check goes on."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest
from PIL import Image

from imgclf.data import alike, inspection, scan_cache, survey
from imgclf.data.samples import Sample
from imgclf.data.scan_cache import ScanCache

NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / scan_cache.NAME


@pytest.fixture
def root(tmp_path, pictures, cache) -> Path:
    return pictures.files(tmp_path / "data", *NAMES, size=(40, 30))


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of all files decoded from here on."""
    names, plain = [], inspection.decode

    def counting(path, at_least=None):
        names.append(path.name)
        return plain(path, at_least)

    monkeypatch.setattr(inspection, "decode", counting)
    return names


def look(root: Path) -> list:
    return survey.inspect(root, [Sample(name, ("a",)) for name in NAMES])


def test_the_second_check_decodes_and_reads_nothing_and_finds_the_same(root, decoded, monkeypatch):
    (root / "3.png").write_text("no image")
    first = look(root)
    assert sorted(decoded) == [name for name in NAMES if name != "3.png"]
    monkeypatch.setattr(survey, "inspect_file", None)  # calling it would fail
    assert look(root) == first
    assert "not an image" in first[3].reason
    assert len(decoded) == 5


def test_what_a_comparison_decoded_in_full_is_kept_too(tmp_path, pictures, cache, decoded):
    root = tmp_path / "data"
    root.mkdir()
    pictures.picture(600, 400).save(root / "0.jpg", quality=95)
    content = (root / "0.jpg").read_bytes()
    (root / "1.jpg").write_bytes(content[:2] + b"\xff\xfe\x00\x06note" + content[2:])  # a comment: other bytes
    for _ in range(2):
        checks = survey.inspect(root, [Sample(f"{i}.jpg", ("a",)) for i in range(2)])
        assert alike.find(root, checks).exact == [["0.jpg", "1.jpg"]]
    assert sorted(decoded) == ["0.jpg", "0.jpg", "1.jpg", "1.jpg"]


def test_a_changed_file_is_read_again(root, pictures, decoded):
    before = look(root)
    decoded.clear()
    pictures.picture(41, 30, seed=99).save(root / "2.png")
    os.utime(root / "4.png", (1, 1))
    after = look(root)
    assert sorted(decoded) == ["2.png", "4.png"]
    assert after[2] != before[2] and after[4] == before[4]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no time that nobody can set")
def test_another_image_of_the_same_size_and_time_is_read_again(root, decoded):
    """As `cp -p` leaves it, or a program that sets the clock back."""
    before, path = look(root), root / "2.png"
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    decoded.clear()
    assert look(root)[2] != before[2]
    assert decoded == ["2.png"]


def test_another_version_of_the_check_begins_anew(root, decoded, monkeypatch):
    look(root)
    monkeypatch.setattr(scan_cache, "VERSION", "other")
    look(root)
    assert len(decoded) == 12


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_made_anew(root, cache, decoded, content):
    first = look(root)
    cache.write_bytes(content)
    assert look(root) == first
    assert len(decoded) == 12
    assert look(root) == first
    assert len(decoded) == 12


def test_a_damaged_row_and_a_table_of_another_shape_are_no_error(root, cache, decoded):
    first = look(root)
    with sqlite3.connect(cache) as db:
        db.execute("update files set found = '[1'")
    assert look(root) == first
    with sqlite3.connect(cache) as db:
        db.execute("drop table files")
        db.execute("create table files (name text)")
    assert look(root) == first
    assert len(decoded) == 18
    look(root)
    assert len(decoded) == 18


def test_a_cache_that_cannot_be_made_or_is_locked_is_done_without(root, cache, decoded, monkeypatch):
    first = look(root)
    monkeypatch.setattr(scan_cache, "PATIENCE", 0.05)
    with sqlite3.connect(cache) as db:
        db.execute("begin exclusive")
        assert look(root) == first
    assert cache.exists()
    monkeypatch.setenv("IMGCLF_CACHE", "/dev/null/cache")
    assert look(root) == first
    assert len(decoded) == 18


def test_it_is_never_written_into_the_data_folder(root, monkeypatch):
    monkeypatch.setenv("IMGCLF_CACHE", str(root / "cache"))
    look(root)
    assert sorted(p.name for p in root.iterdir()) == NAMES


def test_it_stays_bounded_and_keeps_what_was_used_last(root, cache, monkeypatch):
    monkeypatch.setattr(scan_cache, "MAX_ROWS", 4)
    monkeypatch.setattr(scan_cache, "_today", lambda: 1)
    survey.inspect(root, [Sample(name, ("a",)) for name in NAMES[:4]])
    monkeypatch.setattr(scan_cache, "_today", lambda: 2)
    survey.inspect(root, [Sample(NAMES[0], ("a",))])  # a hit counts as use
    survey.inspect(root, [Sample(name, ("a",)) for name in NAMES[4:]])
    known = ScanCache(root).get([scan_cache.stamp(root / name) for name in NAMES])
    assert sum(k is not None for k in known) == 4
    assert known[0] and known[4] and known[5]


def test_several_at_once_lose_nothing(root):
    found = []
    threads = [threading.Thread(target=lambda: found.append(look(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f == found[0] for f in found) and len(found) == 4
    assert None not in ScanCache(root).get([scan_cache.stamp(root / name) for name in NAMES])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_tried_again(root, decoded):
    (root / "0.png").chmod(0)
    assert look(root)[0].reason == "Permission denied"
    (root / "0.png").chmod(0o644)
    assert look(root)[0].reason is None


def test_a_file_that_vanished_is_tried_again(root):
    content = (root / "0.png").read_bytes()
    (root / "0.png").unlink()
    assert look(root)[0].reason == "No such file or directory"
    (root / "0.png").write_bytes(content)
    assert look(root)[0].reason is None


def test_pictures_in_work_stay_within_the_budget():
    budget, running, most, lock = survey.PixelBudget(100), [0], [0], threading.Lock()

    def work(pixels):
        with budget(pixels):
            with lock:
                running[0] += min(pixels, 100)
                most[0] = max(most[0], running[0])
            Image.new("L", (200, 200)).resize((400, 400))
            with lock:
                running[0] -= min(pixels, 100)

    threads = [threading.Thread(target=work, args=(n,)) for n in (60, 50, 40, 1000, 30, 90, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most[0] <= 100
    assert running == [0]
