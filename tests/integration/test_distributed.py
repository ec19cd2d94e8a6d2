"""Several processes that train one model: as one process does with their images, and one of them speaks and writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shapes
import torch
from fastai.vision.all import Callback
from safetensors.torch import load_file
from support import ROOT, history, run_command, run_here
from torch import multiprocessing
from torch.nn.modules.batchnorm import _BatchNorm

from imgclf import ranks
from imgclf.cli import launch
from imgclf.config import Override, load
from imgclf.console import Terminal
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session, together

pytest.importorskip("accelerate")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are started and ended as on Unix")

SMALL = {
    "model.arch": "resnet18", "model.pretrained": False, "augment.size": 32, "augment.presize": 40,
    "data.workers": 0, "train.precision": "fp32", "train.device": "cpu", "train.lr": 0.003,
    "model.cut": -4,
}  # fmt: skip
UNCHANGED = {
    "augment.flip": False, "augment.min_scale": 1, "augment.max_rotate": 0, "augment.min_zoom": 1,
    "augment.max_zoom": 1, "augment.max_warp": 0, "augment.max_lighting": 0, "model.ps": 0,
}  # fmt: skip
OPTIONS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("distributed") / "images", per_class=8, valid_per_class=3)


class Steps(Callback):
    """The loss of every training step; BatchNorm as in evaluation, as its statistics are those of a process."""

    order = 55

    def __init__(self) -> None:
        self.losses: list[float] = []

    def before_train(self) -> None:
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def after_batch(self) -> None:
        if self.training:
            self.losses.append(float(self.loss))


def fit(batch_size: int, images: str) -> dict[str, list[float]]:
    """Two epochs of a small network without randomness: losses of the steps, and the last epoch's record."""
    settings = {"data.path": images, "data.batch_size": batch_size, **SMALL, **UNCHANGED}
    cfg = load(None, [Override(key, value, "test") for key, value in settings.items()]).config
    with together.joined(cfg):
        s, steps = session.start(cfg, Terminal(quiet=True)), Steps()
        s.learn.fit(2, 1e-4, cbs=[SeedEpochs(cfg, "test"), steps])
        if ranks.world() > 1:
            from imgclf.training import distributed

            distributed.leave()
    return {"losses": steps.losses, "record": list(s.learn.final_record)}


def fit_in_one_of_two(rank: int, port: int, images: str, out: str) -> None:
    """What each of two processes does."""
    os.environ.update({**launch.variables(rank, 2, port), "OMP_NUM_THREADS": "1"})
    Path(out, f"{rank}.json").write_text(json.dumps(fit(4, images)))


def test_two_processes_equal_one_at_twice_the_batch_size(images, tmp_path):
    """Tolerance: the sums of the gradients are added in another order, in fp32."""
    multiprocessing.spawn(fit_in_one_of_two, (launch.free_port(), str(images), str(tmp_path)), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    whole = fit(8, str(images))
    assert first == second
    assert len(whole["losses"]) == 6
    assert first["losses"] == pytest.approx(whole["losses"], rel=1e-4)
    # 9 images validate, dealt as 5 and 5: a process reads one a second time, which no figure may count.
    assert first["record"] == pytest.approx(whole["record"], rel=1e-4)


def start(work: Path, *arguments: object) -> subprocess.Popen:
    """The command in the background."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "imgclf", *map(str, arguments)],
        cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_command_trains_in_two_processes_and_one_speaks_and_writes(images, tmp_path):
    arguments = ["-d", images, *OPTIONS, "-b", "4", "-e", "1", "--devices", "2", "--name", "run", "--json"]
    arguments += ["--set", "data.workers=1", "--set", "data.cache=ram"]  # each process has workers and a cache
    done = run_command("train", *arguments, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.json["status"] == "finished"
    told = done.stderr.splitlines()
    assert [sum(line.startswith(word) for line in told) for word in ("training in 2", "run:", "plan:")] == [1, 1, 1]
    assert "24 images at batch size 2 processes x 4 = 8 = 3 batches" in done.stderr
    run = tmp_path / "runs" / "run"
    assert json.loads((run / "manifest.json").read_text())["processes"] == 2
    # The figures of the fit, by two processes, are those of the finished model, by one.
    assert float(history(run)[0]["error_rate"]) == pytest.approx(done.json["best"]["error_rate"])
    refused = run_here("train", "--resume", "run", "--extend", "1", "--devices", "1", cwd=tmp_path)
    assert (refused.returncode, "begun with 2 processes, this command has 1" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_an_error_after_the_start_is_told_once_with_its_exit_code(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run_command("train", "-d", "empty", "--device", "cpu", "--devices", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("error: ")) == (3, 1), done.stderr
    assert "no labelled images" in done.stderr
    assert "Traceback" not in done.stderr


def checkpoints(run: Path, process: subprocess.Popen, n: int) -> None:
    """Wait for so many checkpoints."""
    path, seen = run / "last.ckpt", 0
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    while seen < n and process.poll() is None:
        now = path.stat().st_mtime_ns if path.exists() else 0
        seen, stamp = seen + (now != stamp), now
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_stopped_and_resumed_equals_the_undisturbed_run(images, tmp_path):
    """All processes killed, then one killed, then Ctrl-C: what is resumed ends with the bits of a run never stopped."""
    options = ["-d", images, *OPTIONS, "-b", "4", "-e", "8", "--devices", "2", "--name", "run"]
    (tmp_path / "whole").mkdir()
    done = run_command("train", *options, cwd=tmp_path / "whole", env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    run, whole = tmp_path / "runs" / "run", tmp_path / "whole" / "runs" / "run"
    arguments = [*options, "--set", "train.checkpoint_minutes=0"]
    for disturb, code in ((kill_all, -signal.SIGKILL), (kill_second, 1), (interrupt, 130)):
        process = start(tmp_path, "train", *arguments)
        checkpoints(run, process, 3)
        disturb(process)
        said = process.communicate()[1]
        assert process.returncode == code, said
        assert "Traceback" not in said
        arguments = ["--resume", "run"]
    done = run_command("train", *arguments, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert history(run) == history(whole)
    for name in ("model.safetensors", "last.ckpt"):
        a, b = load_file(run / name), load_file(whole / name)
        assert [key for key in a if not torch.equal(a[key], b[key])] == []


def children(process: subprocess.Popen) -> list[int]:
    """The training processes a command has started, the first first."""
    import psutil  # Accelerate needs it

    found = psutil.Process(process.pid).children()
    return sorted(child.pid for child in found if any("spawn_main" in part for part in child.cmdline()))


def kill_all(process: subprocess.Popen) -> None:
    for pid in [process.pid, *children(process)]:
        os.kill(pid, signal.SIGKILL)


def kill_second(process: subprocess.Popen) -> None:
    os.kill(children(process)[1], signal.SIGKILL)


def interrupt(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
