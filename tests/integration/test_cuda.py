"""On a CUDA device: everything a run does, in every precision, and without the processor waiting for the device."""

import json
import math

import pytest
import shapes
import torch
from fastai.vision.all import Callback
from support import history, run_here, stopping

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data import loaders
from imgclf.training import ema
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.usefixtures("quick"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("cuda"), per_class=16)


def options(folder, *more):
    own = ["--device", "cuda", "--set", "data.workers=2"]
    return [*shapes.pretrained(folder), "--set", "model.cut=null", "-e", "2", *own, *more]


def train(folder, name, *more):
    done = run_here("train", *options(folder, *more), "--name", name, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / name
    assert all(math.isfinite(float(row["valid_loss"])) for row in history(run))
    return json.loads(done.stdout), run


def command(folder, *words):
    done = run_here(*words, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_a_run_ends_with_a_model_that_answers_alike_everywhere(folder, precision):
    result, run = train(folder, f"in-{precision}", "--set", f"train.precision={precision}")
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["device"].startswith("cuda")
    found = [command(folder, "evaluate", run, "--device", device) for device in ("cuda", "cpu")]
    assert {again["accuracy"]["value"] for again in found} == {result["metrics"]["accuracy"]["value"]}
    assert found[0]["valid_loss"] == pytest.approx(found[1]["valid_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "more",
    [
        ("--set", "train.recipe=book", "--lr", "2e-3"),
        ("--set", "train.recipe=book", "--lr", "2e-3", "--set", "train.opt=sgd", "--set", "augment.engine=fastai"),
        ("--set", "train.recipe=book", "--lr", "2e-3", "--set", "train.precision=fp16", "--set", "train.ema=0.9"),
        ("--set", "augment.mixup=0.4", "--set", "augment.erase=0.5"),
        ("--set", "augment.sizes=[24,32]", "--set", "train.accumulate=2"),
        ("--set", "data.channels=1", "--set", "data.cache=ram", "--set", "augment.pad_mode=zeros"),
        ("--set", "data.balance=loss", "--set", "train.freeze_to=0", "--set", "data.workers=0"),
        ("--lr", "auto"),
    ],
    ids=lambda more: " ".join(word for word in more if word != "--set"),
)
def test_whatever_is_asked_for(folder, more):
    train(folder, f"run-{abs(hash(more))}", *more)


def test_several_labels(tmp_path):
    shapes.write_multi(tmp_path / "multi", n=48)
    done = run_here(
        "train", "-d", tmp_path / "multi", "-a", "resnet18", "--size", "32", "--presize", "40", "-b", "8", "-e", "1",
        "--set", "model.pretrained=false", "--lr", "1e-3", "--device", "cuda", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_device_looks_up_what_the_workers_would(folder):
    def batches(where, workers):
        more = {"data.path": str(folder / "images"), "augment.where": where, "data.workers": workers}
        small = {"augment.size": 48, "augment.presize": 64, "data.batch_size": 16, "train.device": "cuda"}
        s = session.start(
            load_config(None, **more, **small, **{"model.arch": "resnet18", "model.pretrained": False}),
            Terminal(quiet=True),
        )
        loaders.reseed(s.loaders.dls, 5)
        return [(x.cpu(), y.cpu()) for x, y in s.loaders.dls.train]

    expected, found = batches("workers", 0), batches("device", 2)
    for (x, y), (other_x, other_y) in zip(expected, found, strict=True):
        assert torch.equal(y, other_y)
        steps = ((x - other_x).abs() * 0.229 * 255).round()  # of 255: the rounding of a coordinate
        assert steps.max() <= 3 and (steps > 0).float().mean() < 0.001


class NoWaiting(Callback):
    """From the second batch on, whatever would wait for the device is an error."""

    order = -300

    def before_batch(self):
        if self.training and self.iter:
            torch.cuda.set_sync_debug_mode("error")

    def after_train(self):
        torch.cuda.set_sync_debug_mode("default")

    def after_cancel_fit(self):
        torch.cuda.set_sync_debug_mode("default")


def test_a_training_step_waits_for_nothing(folder):
    s = session.start(
        load_config(None, **{
            "data.path": str(folder / "images"), "data.batch_size": 8, "data.workers": 0, "augment.presize": 36,
            "augment.size": 32, "model.arch": "resnet18", "model.weights": str(folder / "weights.pth"),
            "train.device": "cuda", "train.precision": "bf16", "train.epochs": 1,
        }), Terminal(quiet=True),
    )  # fmt: skip
    probe, unfrozen = s.plan(1e-4).phases
    run_phase(s.learn, probe, [SeedEpochs(s.cfg, "probe")])
    s.learn.freeze_to(unfrozen.freeze_to)
    waits = NoWaiting()
    batches = list(s.learn.dls.train)  # bringing images there is on a stream of its own, and waits for no step
    s.learn.dls.train.__class__.__iter__, before = (lambda self: iter(batches)), s.learn.dls.train.__class__.__iter__
    try:
        with s.learn.added_cbs(ema.callbacks("mean", s.learn.model)):
            run_phase(s.learn, unfrozen, [waits])
    finally:
        s.learn.dls.train.__class__.__iter__ = before
        torch.cuda.set_sync_debug_mode("default")


def test_stopped_and_resumed_it_ends_where_it_would_have(folder, monkeypatch):
    exactly = ["--set", "train.deterministic=true", "--set", "train.precision=bf16"]
    _, whole = train(folder, "whole", *exactly)
    with stopping(monkeypatch, at=4):
        done = run_here("train", *options(folder, *exactly), "--name", "stopped", cwd=folder)
    assert done.returncode == 130, done.stderr
    assert run_here("train", "--resume", "stopped", cwd=folder).returncode == 0
    found, expected = (
        [{**row, "seconds": None} for row in history(run)] for run in (folder / "runs" / "stopped", whole)
    )
    assert found == expected


def test_a_loss_that_is_no_number_ends_the_run(folder):
    done = run_here("train", *options(folder, "--lr", "1e9", "--set", "train.precision=fp32"), "--json", cwd=folder)
    assert done.returncode == 4, done.stderr
    assert "became" in json.loads(done.stdout)["error"]["message"]


def test_the_other_commands(folder):
    assert command(folder, "lrfind", *options(folder), "--set", "train.recipe=book")["chosen"] > 0
    assert command(folder, "bench", *options(folder), "--steps", "3")["images_per_second"]["step"] > 0
    rows = command(folder, "doctor")["training steps"]
    assert {(row["device"], row["precision"]) for row in rows} >= {("cuda", "fp32"), ("cuda", "bf16"), ("cuda", "fp16")}
