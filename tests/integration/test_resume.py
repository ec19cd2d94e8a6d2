"""A run that cannot be lost: killed at any moment and resumed, it ends with the bits of the run never disturbed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import shapes
import torch
from support import history, no_pictures, run_here, same, stopping

from imgclf import runs
from imgclf.config import dump, load_config

SMALL = [
    *("-a", "resnet18", "-e", "2", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "9"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--device", "cpu", "--set", "model.cut=-3"),  # a quarter of the weights: saving is what takes the time
]  # fmt: skip
EACH_STEP = ["--set", "train.checkpoint_minutes=0"]
pytestmark = pytest.mark.usefixtures("quick")  # one thread as in the runs that are killed
kills = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9 and no fork server")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("resume") / "images", per_class=12)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    """The run that nothing disturbs."""
    work = tmp_path_factory.mktemp("whole")
    done = run_here("train", "-d", images, *SMALL, "--set", "data.workers=0", "--name", "run", cwd=work)
    assert done.returncode == 0, done.stderr
    return work / "runs" / "run"


def command(arguments: list[str], cwd: str) -> None:
    """What the child processes do."""
    os.chdir(cwd)
    multiprocessing.set_start_method("fork", force=True)  # of the loaders' workers, as it is outside a fork server
    torch.set_num_threads(1)
    from imgclf.cli.app import main

    no_pictures(pytest.MonkeyPatch().setattr)
    main(arguments)


def killed_and_resumed(images: Path, work: Path, workers: int, seed: int) -> int:
    """Train, kill -9 after one to five checkpoints and a moment, resume, kill …; returns the number of kills."""
    context, rng, n_kills = multiprocessing.get_context("forkserver"), random.Random(seed), 0
    context.set_forkserver_preload(["imgclf.workflow.fitting", "imgclf.workflow.session", "matplotlib.pyplot"])
    checkpoint = work / "runs" / "run" / "last.ckpt"
    settings = [*SMALL, *EACH_STEP, "--set", f"data.workers={workers}", "--quiet"]
    arguments = ["train", "-d", str(images), *settings, "--name", "run"]
    while True:
        process = context.Process(target=command, args=(arguments, str(work)))
        process.start()
        saves, moment = rng.randint(1, 5), rng.uniform(0, 0.3)
        for _ in range(saves):
            before = _stamp(checkpoint)
            while process.is_alive() and _stamp(checkpoint) == before:
                time.sleep(0.002)
        process.join(moment)
        if process.exitcode is not None:
            assert process.exitcode == 0
            return n_kills
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        n_kills += 1
        arguments = ["train", "--resume", "run", "--quiet"]


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@kills
@pytest.mark.parametrize(("workers", "seed"), [pytest.param(0, 1, marks=pytest.mark.slow), (2, 2)])
def test_killed_and_resumed_until_done_equals_the_undisturbed_run(images, whole, tmp_path, workers, seed):
    assert killed_and_resumed(images, tmp_path, workers, seed) >= 2
    same(tmp_path / "runs" / "run", whole)


@kills
@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_many_random_moments(images, whole, tmp_path, workers):
    for _ in range(8):
        seed = random.SystemRandom().randrange(10**6)
        work = tmp_path / str(seed)  # the seed is in the name of what a failure leaves
        work.mkdir()
        killed_and_resumed(images, work, workers, seed)
        same(work / "runs" / "run", whole)


def stopped(work: Path, images: Path, monkeypatch, at: int, *more: str) -> Path:
    """A run that was asked to stop, as by Ctrl-C, after a number of training steps."""
    with stopping(monkeypatch, at):
        arguments = ["--set", "data.workers=0", "--name", "run", *more]
        done = run_here("train", "-d", images, *SMALL, *arguments, cwd=work)
    assert (done.returncode, "--resume" in done.stderr) == (130, True), done.stderr
    return work / "runs" / "run"


def test_killed_between_the_two_files_of_the_bundle(images, whole, tmp_path, monkeypatch):
    from imgclf.shipping import bundle

    class Killed(BaseException):
        pass

    def killed(folder, changed):
        bundle.write(folder / runs.WEIGHTS, bundle.read(folder)[0], changed)
        (folder / ".model.json.a1b2c3d4.json").write_text("{")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(bundle, "update", lambda folder, **new: killed(folder, replace(bundle.read(folder)[1], **new)))
        run_here("train", "-d", images, *SMALL, "--set", "data.workers=0", "--name", "run", cwd=tmp_path)
    done = run_here("train", "--resume", "latest", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "runs" / "run", whole)
    assert [p.name for p in (tmp_path / "runs" / "run").rglob(".*")] == [".lock"]


def test_stopped_and_resumed_equals_the_undisturbed_run(images, whole, tmp_path, monkeypatch):
    run = stopped(tmp_path, images, monkeypatch, at=3)  # the last step of an epoch: its validation is left to do
    done = run_here("train", "--resume", "latest", "--json", cwd=tmp_path)
    assert (done.returncode, done.json["status"]) == (0, "finished"), done.stderr
    same(run, whole)


@pytest.fixture(scope="module")
def half(images, tmp_path_factory) -> Path:
    """A run stopped in its second phase; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        return stopped(tmp_path_factory.mktemp("half"), images, patch, 4)


@pytest.fixture
def work(half, tmp_path) -> Path:
    shutil.copytree(half, tmp_path / "runs" / "run")
    return tmp_path


def refused(work: Path, *arguments: object) -> tuple[int, str]:
    """The exit code and text of a refusal, which leaves the checkpoint and the status as they were."""
    run = work / "runs" / "run"
    kept = ("last.ckpt", "manifest.json", "model.safetensors", "history.csv")
    before = {n: (run / n).read_bytes() for n in kept if (run / n).exists()}
    done = run_here("train", "--resume", "run", *arguments, cwd=work)
    assert {n: (run / n).read_bytes() for n in before if (run / n).exists()} == before
    return done.returncode, " ".join(done.stderr.split())


def test_a_key_that_must_not_change_is_named_with_both_values(work):
    code, text = refused(work, "--lr", "0.1", "-b", "4")
    assert code == 2
    assert "train.lr: the run has 0.003, this command 0.1" in text
    assert "data.batch_size: the run has 9, this command 4" in text


def test_other_data_is_refused_and_moved_data_is_not(work, images):
    moved = shutil.copytree(images, work / "moved")
    (moved / "disc" / "disc 1.png").unlink()
    code, text = refused(work, "-d", moved)
    assert (code, "the images are not those" in text) == (3, True)
    shutil.copy(images / "disc" / "disc 1.png", moved / "disc" / "disc 1.png")
    assert run_here("train", "--resume", "run", "-d", moved, "-q", cwd=work).returncode == 0
    code, text = refused(work)
    assert (code, "is finished" in text) == (4, True)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "missing"])
def test_a_damaged_checkpoint_is_refused(work, damage):
    path = work / "runs" / "run" / "last.ckpt"
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[-100] ^= 1
        path.write_bytes({"cut": data[: len(data) // 2], "flip": data, "empty": b""}[damage])
    code, text = refused(work)
    assert (code, "cannot be used" in text) == (4, True)


def test_a_checkpoint_of_another_version_is_refused(work, monkeypatch):
    monkeypatch.setattr("imgclf.training.checkpoint.VERSION", 2)
    code, text = refused(work)
    assert (code, "checkpoint of version 1, this imgclf reads version 2" in text) == (4, True)


@kills
def test_a_second_process_is_refused_while_one_trains(work):
    context = multiprocessing.get_context("forkserver")
    ready = context.Event()
    process = context.Process(target=hold, args=(str(work / "runs" / "run"), ready))
    process.start()
    try:
        assert ready.wait(60)
        code, text = refused(work)
        assert (code, "is being trained by another process" in text) == (4, True)
    finally:
        process.kill()
        process.join()


def hold(folder: str, ready) -> None:
    """Hold a run's lock until killed."""
    from imgclf import locks

    with locks.held(Path(folder)):
        ready.set()
        time.sleep(600)


def test_a_full_disk_leaves_the_checkpoint_before(work, monkeypatch):
    def full(path, data):
        path.write_bytes(data[:1000])
        raise OSError(28, "No space left on device")

    before = (work / "runs" / "run" / "last.ckpt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("imgclf.training.checkpoint._write", full)
        done = run_here("train", "--resume", "run", cwd=work)
    assert (done.returncode, "No space left on device" in done.stderr) == (4, True)
    assert (work / "runs" / "run" / "last.ckpt").read_bytes() == before
    assert run_here("train", "--resume", "run", "-q", cwd=work).returncode == 0


def test_runs_list_shows_a_killed_run(work):
    manifest = work / "runs" / "run" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "status": "running", "pid": 1}))
    done = run_here("runs", "list", "--json", cwd=work)
    assert [run["status"] for run in done.json["runs"]] == ["killed"]


def test_nothing_to_resume(tmp_path):
    done = run_here("train", "--resume", "latest", cwd=tmp_path)
    assert (done.returncode, "no unfinished run" in done.stderr) == (4, True)
    done = run_here("train", "--resume", "latest", "--name", "x", cwd=tmp_path)
    assert (done.returncode, "leave out --name" in done.stderr) == (2, True)


def test_auto_begins_goes_on_and_is_content_with_a_finished_run(images, whole, tmp_path, monkeypatch):
    """One command for all starts of a job that a queue begins again."""
    auto = ["--resume", "auto"]
    stopped(tmp_path, images, monkeypatch, 1, *auto)
    again = ["train", "-d", images, *SMALL, "--set", "data.workers=0", "--name", "run", *auto]
    done = run_here(*again, "--json", cwd=tmp_path)
    assert (done.returncode, done.json["status"]) == (0, "finished"), done.stderr
    same(tmp_path / "runs" / "run", whole)
    before = (tmp_path / "runs" / "run" / "manifest.json").read_bytes()
    assert run_here(*again, "--json", cwd=tmp_path).json == done.json
    assert "run is finished: accuracy" in run_here("train", "--name", "run", *auto, cwd=tmp_path).stdout
    other = run_here(*again, "--seed", "7", cwd=tmp_path)
    assert (other.returncode, "seed: the run has 42, this command 7" in other.stderr) == (2, True)
    assert (tmp_path / "runs" / "run" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "result", [None, {}, {"metrics": {}}, {"metrics": {"accuracy": {"value": 0.9, "low": None, "high": None, "n": 3}}}]
)
def test_auto_is_content_with_a_finished_run_that_does_not_say_what_it_reached(tmp_path, result):
    run = runs.create(tmp_path / "runs", "run", dump(load_config("digits")), {})
    run.finish("finished", result=result)
    done = run_here("train", "--name", "run", "--resume", "auto", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "runs/run is finished\n"), done.stderr


@pytest.mark.parametrize("more", [[], ["--name", "run", "--extend", "1"], ["--name", "run", "--dry-run"]])
def test_auto_needs_a_name_and_nothing_that_contradicts(tmp_path, more):
    done = run_here("train", "--resume", "auto", *more, cwd=tmp_path)
    assert (done.returncode, "add --name NAME" in done.stderr) == (2, True)


def test_a_finished_run_is_extended_by_one_more_cycle(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "runs" / "run")
    done = run_here("train", "--resume", "run", "--extend", "1", "--json", cwd=tmp_path)
    assert (done.returncode, done.json["status"], done.json["epochs_done"]) == (0, "finished", 4), done.stderr
    assert history(run)[:3] == history(whole)
    assert done.json["unfreezing"]["frozen"] == float(history(whole)[0]["error_rate"])
    assert "unfreezing" in (run / "report.html").read_text(encoding="utf-8")
    assert history(run)[3]["phase"] == "extend1"
    done = run_here("train", "--resume", "run", cwd=tmp_path)
    assert (done.returncode, "--extend N" in done.stderr) == (4, True)


def test_extend_needs_a_finished_run(work):
    code, text = refused(work, "--extend", "1")
    assert (code, "is not finished" in text) == (4, True)
    assert run_here("train", "--extend", "1", cwd=work).returncode == 2


def test_patience_counts_over_the_phases(images, whole, tmp_path, monkeypatch):
    from imgclf.training.best import KeepBest

    improves = KeepBest._improves  # let no epoch after the frozen one be better: a patience of one stops after the next
    monkeypatch.setattr(KeepBest, "_improves", lambda self, *figures: self.best is None and improves(self, *figures))
    settings = [*SMALL, "--set", "data.workers=0", "--set", "train.patience=1"]
    done = run_here("train", "-d", images, *settings, "--name", "run", "--json", cwd=tmp_path)
    assert (done.returncode, done.json["status"], done.json["epochs_done"]) == (0, "finished", 2), done.stderr
    rows = history(tmp_path / "runs" / "run")
    assert [(row["phase"], row["best"]) for row in rows] == [("frozen", "True"), ("unfrozen", "False")]
    assert [row["valid_loss"] for row in rows] == [row["valid_loss"] for row in history(whole)[:2]]
