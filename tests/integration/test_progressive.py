"""Progressive resizing: each epoch at its size, validation and model at the last, resumed runs the same bit for bit."""

import json

import pytest
import shapes
from fastai.vision.all import Callback
from support import history, run_here, same

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session

SMALL = ["-a", "resnet18", "-e", "2", "--freeze-epochs", "1", "--presize", "40", "-b", "5", "--lr", "0.003"]
SMALL += ["--set", "model.pretrained=false", "--device", "cpu", "--set", "data.workers=0", "--set", "model.cut=-4"]
SIZES = ["--set", "augment.sizes=[16, 24]"]
pytestmark = pytest.mark.usefixtures("quick")


class Sides(Callback):
    """The side of every batch: training and validation."""

    order = 90

    def before_fit(self):
        self.seen = []

    def before_batch(self):
        self.seen.append((self.epoch, "train" if self.training else "valid", tuple(self.x.shape[-2:])))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("progressive") / "images", per_class=6)


def prepared(images, **settings):
    return load_config(
        **{
            "data.path": str(images), "data.batch_size": 9, "data.workers": 0, "augment.presize": 40,
            "augment.sizes": [16, 24], "model.arch": "resnet18", "model.pretrained": False, "train.device": "cpu",
            "train.epochs": 2, "model.cut": -4, **settings,
        }
    )  # fmt: skip


@pytest.mark.parametrize(("engine", "min_scale"), [("fused", 0.75), ("fastai", 0.75), ("fastai", 1.0)])
def test_each_epoch_is_at_its_size_and_validation_at_the_last(images, engine, min_scale):
    cfg = prepared(images, **{"augment.engine": engine, "augment.min_scale": min_scale})
    s, sides = session.start(cfg, Terminal(quiet=True)), Sides()
    assert s.hardware.precision == "fp32"  # bf16 is not safe at the smallest size
    [phase] = s.plan(1e-3).phases
    assert phase.sizes == (16, 24)
    s.learn.add_cb(sides)
    run_phase(s.learn, phase, [SeedEpochs(cfg, phase.name)])
    train = {(epoch, side) for epoch, kind, side in sides.seen if kind == "train"}
    assert train == {(0, (16, 16)), (1, (24, 24))}
    assert {side for _, kind, side in sides.seen if kind == "valid"} == {(24, 24)}
    assert s.loaders.preprocess.size == 24


def test_the_finder_uses_the_first_size(images, monkeypatch):
    s, sides = session.start(prepared(images), Terminal(quiet=True)), Sides()
    s.learn.add_cb(sides)
    monkeypatch.setattr(session.lr, "STEPS", 3)
    s.find_lr()
    assert {side for _, _, side in sides.seen} == {(16, 16)}


def test_fastais_engine_reaches_the_size_with_nothing_else_to_do(images):
    still = {"flip": False, "max_rotate": 0.0, "max_zoom": 1.0, "max_warp": 0.0, "min_scale": 1.0, "engine": "fastai"}
    cfg = prepared(images, **{f"augment.{k}": v for k, v in still.items()})
    s = session.start(cfg, Terminal(quiet=True))
    assert s.loaders.dls.train.one_batch()[0].shape[-2:] == (24, 24)


class Killed(BaseException):
    """Ends a run where kill -9 would."""


def test_killed_at_any_size_and_resumed_it_ends_with_the_same_bits(images, tmp_path, monkeypatch):
    done = run_here("train", "-d", images, *SMALL, *SIZES, "--name", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from imgclf.training import checkpoint

    save, killing = checkpoint.save, {(0, 0, 1), (0, 0, 2), (1, 0, 1)}  # at 16 pixels; before a change; at 24

    def kill(path, made):
        save(path, made)
        place = (made.place.phase, made.place.epoch, made.place.batch)
        if place in killing:
            killing.remove(place)
            raise Killed

    monkeypatch.setattr(checkpoint, "save", kill)
    arguments = ["-d", images, *SMALL, *SIZES, "--set", "train.checkpoint_minutes=0", "--name", "run"]
    while killing:
        with pytest.raises(Killed):
            run_here("train", *arguments, cwd=tmp_path)
        arguments = ["--resume", "run"]
    assert run_here("train", *arguments, cwd=tmp_path).returncode == 0
    whole, run = tmp_path / "runs" / "whole", tmp_path / "runs" / "run"
    assert [row["size"] for row in history(whole)] == ["16", "24", "24"]
    same(run, whole)
    assert json.loads((run / "model.json").read_text())["preprocess"]["size"] == 24


def test_more_sizes_than_epochs_are_refused(images, tmp_path):
    few = ["-e", "1", "--freeze-epochs", "0"]
    done = run_here("train", "-d", images, *SMALL, *SIZES, *few, cwd=tmp_path)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "augment.sizes has 2 sizes [16, 24] for 1 epoch: each needs one" in said


def test_a_rehearsal_takes_a_batch_at_each_size(images, tmp_path, monkeypatch):
    monkeypatch.setattr("imgclf.workflow.rehearse._ship", lambda *_: {})  # exports are another test's
    done = run_here("train", "-d", images, *SMALL, *SIZES, "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [phase["sizes"] for phase in done.json["plan"]] == [[16], [24, 24]]
    assert list(done.json["seconds_per_step"]) == ["frozen, 16 px", "unfrozen, 24 px"]
    assert "pixels" in done.stderr
