"""What goes wrong on a machine in the middle of a run: the run goes on, or says why not and keeps what it has."""

import gc
import json
import os
import signal
import time
from pathlib import Path

import pytest
import shapes
import torch
from support import history, run_here, same

SMALL = [
    *("-a", "resnet18", "-e", "1", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "8"),
    *("--set", "model.cut=-3"),  # a third of the weights: checkpoints are quicker to write
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--device", "cpu", "--set", "data.workers=0", "--name", "run"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("faults") / "images", per_class=7)


def manifest(work: Path) -> dict:
    return json.loads((work / "runs" / "run" / "manifest.json").read_text())


def altered(monkeypatch, alter) -> None:
    """Let ``alter(learn)`` change every learner that is built."""
    from imgclf.training import learner

    build = learner.build

    def built(*args, **kwargs):
        learn, notes = build(*args, **kwargs)
        alter(learn)
        return learn, notes

    monkeypatch.setattr(learner, "build", built)


def crowd(monkeypatch, room: int) -> list[int]:
    """Let the network's head have room for so many images; returns the sizes it sees."""
    seen = []

    def full(module, args):
        seen.append(len(args[0]))
        if len(args[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    altered(monkeypatch, lambda learn: learn.model[1].register_forward_pre_hook(full))
    return seen


def test_out_of_memory_goes_on_in_parts_as_if_they_had_been_asked_for(images, tmp_path, monkeypatch):
    two = tmp_path / "two"
    two.mkdir()
    assert run_here("train", "-d", images, *SMALL, "--set", "train.accumulate=2", cwd=two).returncode == 0
    assert manifest(two)["micro_batch"] == 4
    crowd(monkeypatch, room=4)
    done = run_here("train", "-d", images, *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("out of memory with 8 images at a time")) == (0, 1), done.stderr
    assert manifest(tmp_path)["micro_batch"] == 4
    same(tmp_path / "runs" / "run", two / "runs" / "run")
    # What it learned about the memory stays with the run.
    seen = crowd(monkeypatch, room=8)
    done = run_here("train", "--resume", "run", "--extend", "1", cwd=tmp_path)
    assert (done.returncode, max(seen)) == (0, 4), done.stderr
    assert len(history(tmp_path / "runs" / "run")) == 3


def test_one_image_too_many(images, tmp_path, monkeypatch):
    crowd(monkeypatch, room=1)
    done = run_here("train", "-d", images, *SMALL, "--json", cwd=tmp_path)
    assert (done.returncode, done.json["error"]["type"]) == (4, "RunError")
    assert "cannot even train on 2 images at a time" in done.json["error"]["message"]
    assert manifest(tmp_path)["status"] == "failed"


@pytest.mark.parametrize(
    ("value", "message"), [("5", "5 parts of 8 images"), ("0", "train.accumulate"), ("x", "train.accumulate")]
)
def test_accumulate_that_cannot_be(value, message, images, tmp_path):
    done = run_here("train", "-d", images, *SMALL, "--set", f"train.accumulate={value}", cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def explode(monkeypatch, above: float, training: bool = True) -> None:
    """Make the predictions NaN while the learning rate of the head is above a limit."""

    def alter(learn):
        def nan(module, args, out):
            return out * float("nan") if module.training == training and learn.opt.hypers[-1]["lr"] > above else out

        learn.model[1].register_forward_hook(nan)

    altered(monkeypatch, alter)


RETRY = ["--set", "train.on_nan=retry"]


@pytest.fixture(scope="module")
def half_rate(images, tmp_path_factory) -> Path:
    """The run that begins with half the learning rate."""
    work = tmp_path_factory.mktemp("half-rate")
    assert run_here("train", "-d", images, *SMALL, "--lr", "0.0015", cwd=work).returncode == 0
    return work / "runs" / "run"


def test_a_loss_that_is_no_number_ends_the_run_and_a_retry_goes_on_at_half_the_rate(
    images, half_rate, tmp_path, monkeypatch
):
    explode(monkeypatch, above=0.001)  # which the frozen phase reaches, but not at half the rate
    done = run_here("train", "-d", images, *SMALL, cwd=tmp_path)
    assert done.returncode == 4
    assert "the loss became nan in epoch 1 of the frozen phase, at batch " in done.stderr
    for way in (
        "imgclf train --resume runs/run --set train.on_nan=retry",
        "a lower --lr (it was 0.003)",
        "train.clip=1",
    ):
        assert way in done.stderr
    assert manifest(tmp_path)["status"] == "failed"
    done = run_here("train", "--resume", "run", *RETRY, "--json", cwd=tmp_path)
    assert (done.returncode, done.json["status"]) == (0, "finished"), done.stderr
    assert "back to the last checkpoint, at half the learning rates: at most 0.0015" in done.stderr
    (retry,) = manifest(tmp_path)["retries"]
    assert (retry["new_lr"], retry["back_to"]) == (0.0015, {"phase": 0, "epoch": 0, "batch": 0})
    same(tmp_path / "runs" / "run", half_rate)


def test_a_retry_is_resumed_as_any_run(images, tmp_path, monkeypatch):
    from imgclf.training.watch import Watch

    explode(monkeypatch, above=0.001)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    arguments = ["train", "-d", images, *SMALL, *RETRY, "--set", "augment.mixup=0.4"]
    arguments += ["--set", "train.checkpoint_minutes=0"]
    assert run_here(*arguments, cwd=undisturbed).returncode == 0
    after_batch = Watch.after_batch

    def stop(self):
        after_batch(self)
        self.request.asked = self.phase.name == "unfrozen"

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "after_batch", stop)
        assert run_here(*arguments, cwd=tmp_path).returncode == 130
    assert run_here("train", "--resume", "run", cwd=tmp_path).returncode == 0
    assert manifest(tmp_path)["retries"][0]["back_to"] == manifest(undisturbed)["retries"][0]["back_to"]
    same(tmp_path / "runs" / "run", undisturbed / "runs" / "run")


def test_three_retries_are_enough(images, tmp_path, monkeypatch):
    explode(monkeypatch, above=0)
    done = run_here("train", "-d", images, *SMALL, *RETRY, "--json", cwd=tmp_path)
    assert (done.returncode, done.json["error"]["type"]) == (4, "RunError")
    assert "after the learning rates were halved 3 times" in done.json["error"]["message"]
    assert [r["new_lr"] for r in manifest(tmp_path)["retries"]] == [0.0015, 0.00075, 0.000375]


def test_weights_that_are_no_numbers_never_reach_a_checkpoint(images, tmp_path, monkeypatch):
    """A finite loss whose gradient is not: only the next loss would show it."""
    from safetensors.torch import load_file

    def alter(learn):
        steps = []

        def nan(gradient):
            steps.append(1)
            return gradient * float("nan") if len(steps) == 2 else gradient  # the last step of the first epoch

        learn.model[1][-1].weight.register_hook(nan)

    altered(monkeypatch, alter)
    done = run_here("train", "-d", images, *SMALL, cwd=tmp_path)
    assert (done.returncode, "weights became nan in epoch 1 of the frozen phase" in done.stderr) == (4, True)
    saved = load_file(tmp_path / "runs" / "run" / "last.ckpt")
    assert all(t.isfinite().all() for t in saved.values() if t.is_floating_point())
    assert not (tmp_path / "runs" / "run" / "model.safetensors").exists()


def test_a_validation_loss_that_is_no_number_is_said(images, tmp_path, monkeypatch):
    explode(monkeypatch, above=0, training=False)
    run_here("train", "-d", images, *SMALL, cwd=tmp_path)
    assert "the validation loss is nan in epoch 1 of the frozen phase" in (tmp_path / "runs/run/train.log").read_text()
    assert len(history(tmp_path / "runs" / "run")) == 2


def test_on_nan_that_cannot_be(tmp_path):
    done = run_here("train", "--set", "train.on_nan=retri", cwd=tmp_path)
    assert (done.returncode, "train.on_nan" in done.stderr) == (2, True)


def children() -> set[str]:
    """The processes this one has started and that still run; one that has ended is there until somebody asks."""
    started = {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
    return {pid for pid in started if _runs(Path(f"/proc/{pid}/stat"))}


def _runs(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone since
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "is killed by signal: Killed"), (signal.SIGBUS, "shared memory ran out between the 2 processes")],
)
def test_a_worker_that_dies_is_explained_and_leaves_no_orphan(number, said, images, tmp_path, monkeypatch):
    from imgclf.data.placed import PlacedLoader

    do_item = PlacedLoader.do_item

    def dies(self, s):
        if torch.utils.data.get_worker_info() and self.first_batch == 0 and s == 9:
            os.kill(os.getpid(), number)
        return do_item(self, s)

    before = children()
    with monkeypatch.context() as patch:
        patch.setattr(PlacedLoader, "do_item", dies)
        arguments = [*SMALL, "--set", "data.workers=2", "--json"]
        done = run_here("train", "-d", images, *arguments, cwd=tmp_path)
    error = done.json["error"]
    assert (done.returncode, error["type"]) == (4, "RunError"), error
    assert said in error["message"]
    assert "imgclf train --resume runs/run --set data.workers=0" in error["hint"]
    for _ in range(200):
        gc.collect()  # the loader ends its workers when it goes; what the error holds may be a cycle
        if children() <= before:
            break
        time.sleep(0.05)
    assert children() <= before
    assert run_here("train", "--resume", "run", "--set", "data.workers=0", cwd=tmp_path).returncode == 0


def test_a_disk_that_fills_up_while_the_bundle_is_written(images, tmp_path, monkeypatch):
    """The weights are written by another library, with an error of its own."""
    import safetensors.torch

    def full(*args, **kwargs):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        done = run_here("train", "-d", images, *SMALL, cwd=tmp_path)
    assert (done.returncode, "the disk is full" in done.stderr) == (4, True), done.stderr
    assert run_here("train", "--resume", "run", cwd=tmp_path).returncode == 0
