"""The promise that the data folder is only read: every command on a folder that cannot be, or is not, written to."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import photo, run_here

SMALL = ("--size", "32", "--presize", "40", "-b", "4", "--set", "data.workers=0", "--set", "model.pretrained=false")
SMALL += ("-a", "resnet18", "--set", "model.cut=-4")
pytestmark = pytest.mark.usefixtures("quick")  # what is drawn lies in the run
ONE_EPOCH = ("-e", "1", "--freeze-epochs", "0", "--lr", "1e-3")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Two classes with a leak, a conflict, a broken file and a table, so that every check has work to do."""
    root = tmp_path_factory.mktemp("read-only") / "photos"
    for i, label in enumerate("ab"):
        (root / label).mkdir(parents=True)
        for k in range(8):
            photo(10 * i + k, 48, 40).save(root / label / f"{k}.jpg")
    shutil.copy(root / "a/0.jpg", root / "a/again.jpg")
    shutil.copy(root / "a/1.jpg", root / "b/conflict.jpg")
    (root / "a" / "broken.jpg").write_bytes((root / "a/2.jpg").read_bytes()[:300])
    (root / "notes.txt").write_text("mine")
    return root


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file and folder: content, mode, times of change."""
    return {
        str(p.relative_to(root)): (
            hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else sorted(x.name for x in p.iterdir()),
            p.stat().st_mode, p.stat().st_mtime_ns, p.stat().st_ctime_ns, p.stat().st_size,
        )
        for p in [root, *root.rglob("*")]
    }  # fmt: skip


def walk_through(data: Path, work: Path, *names: str) -> None:
    """Every command that reads a data folder, or those named; each must have done its work."""
    runs = ("--runs-dir", work / "runs")
    commands = [
        (0, "train", "-d", data, *SMALL, *ONE_EPOCH, *runs, "--name", "r", "--set", "data.on_leak=fix"),
        (3, "data", "check", "-d", data, "--strict", "--out", work / "findings"),
        (0, "data", "summary", "-d", data, *SMALL),
        (0, "data", "show", "-d", data, *SMALL, "--n", "2", "--out", work / "batch.png"),
        (0, "lrfind", "-d", data, *SMALL, "--plot", work / "lr.png"),
        (0, "evaluate", "r", *runs),
        (0, "evaluate", "r", *runs, "--data", data),
        (3, "predict", "r", data, *runs),  # 3: one file is broken
    ]
    for code, *arguments in commands:
        if names and arguments[0] not in names:
            continue
        done = run_here(*arguments, cwd=work)
        assert done.returncode == code, (arguments, done.stdout[-2000:], done.stderr[-3000:])
    assert (work / "runs" / "r" / "model.json").exists() and (names or (work / "batch.png").exists())


def test_a_folder_without_write_permission_stays_as_it_is(photos, tmp_path):
    """Root may write all the same, so that the state is compared as well."""
    everything = [photos, *photos.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(photos)
    try:
        walk_through(photos, tmp_path)
        assert state(photos) == before
    finally:
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def mounted(photos, tmp_path):
    """The folder through a mount that refuses every write, root's too."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a bind mount needs root on Linux")
    point = tmp_path / "mounted"
    point.mkdir()
    for command in (["mount", "--bind", photos, point], ["mount", "-o", "remount,ro,bind", point]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["umount", str(point)], capture_output=True, check=False)
            pytest.skip(f"this machine allows no bind mount: {done.stderr.strip()}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_training_works_on_a_read_only_mount(mounted, tmp_path):
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "probe").touch()
    work = tmp_path / "work"
    work.mkdir()
    walk_through(mounted, work, "train", "predict")
