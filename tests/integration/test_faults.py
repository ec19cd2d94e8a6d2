"""What goes wrong on a machine in the middle of a run: the run goes on, or says why not and keeps what it has."""

import json
from pathlib import Path

import pytest
import shapes
import torch
from support import history, run_here, same

SMALL = [
    *("-a", "resnet18", "-e", "1", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "8"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--device", "cpu", "--set", "data.workers=0", "--name", "run"),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """One thread, as wherever bits are compared, and no pictures, which are not the subject here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imgclf.workflow.keeping.draw", lambda *_: [])
        patch.setattr("imgclf.results.plots.history_plot", lambda *_: None)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("faults") / "images", per_class=7)


def manifest(work: Path) -> dict:
    return json.loads((work / "runs" / "run" / "manifest.json").read_text())


def crowd(monkeypatch, room: int) -> list[int]:
    """Let the network's head have room for so many images; returns the sizes it sees."""
    from imgclf.training import learner

    build, seen = learner.build, []

    def full(module, args):
        seen.append(len(args[0]))
        if len(args[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    def crowded(*args, **kwargs):
        learn, notes = build(*args, **kwargs)
        learn.model[1].register_forward_pre_hook(full)
        return learn, notes

    monkeypatch.setattr(learner, "build", crowded)
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
