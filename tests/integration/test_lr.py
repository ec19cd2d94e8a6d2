"""The learning-rate finder leaves nothing changed, writes nothing, and survives short and odd sweeps."""

import copy
import random

import numpy as np
import pytest
import shapes
import torch
from support import run_here

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.training import lr
from imgclf.workflow import rates, session


@pytest.fixture
def begin(tmp_path):
    """``begin(**settings)``: a session that is ready to train from random weights."""

    def make(**settings):
        return session.start(load_config(**{**usual, **settings}), Terminal(quiet=True))

    usual = {
        "data.path": str(shapes.write(tmp_path / "images", per_class=10)), "data.batch_size": 8, "data.workers": 0,
        "augment.presize": 40, "augment.size": 32, "model.arch": "resnet18", "model.pretrained": False,
            "train.precision": "fp32", "train.device": "cpu", "model.cut": -4,
    }  # fmt: skip
    return make


@pytest.fixture
def ready(begin):
    return begin()


def everything(learn):
    """Weights, BatchNorm statistics, modes, optimizer, gradients and every source of randomness."""
    opt = copy.deepcopy(learn.opt.state_dict()) if learn.opt else None  # its tensors are changed in place
    return (
        {name: value.clone() for name, value in learn.model.state_dict().items()},
        [m.training for m in learn.model.modules()],
        [p.requires_grad for p in learn.model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()],
        opt and (list(opt["state"]), list(opt["hypers"])),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state(),
        [dl.rng.getstate() for dl in learn.dls.loaders],
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("trained_before", [False, True])
def test_everything_is_as_before(ready, trained_before):
    learn = ready.learn
    if trained_before:
        learn.unfreeze()
        learn.fit_one_cycle(1, 1e-3)
    learn.model.train()
    learn.model[0][1].eval()
    learn.zero_grad()
    before = everything(learn)
    found = lr.find(learn, [], n_steps=12)
    assert len(found.lrs) == 12
    assert same(before, everything(learn))


def test_an_interrupted_sweep_restores_too(ready):
    before = everything(ready.learn)
    calls = iter(range(3))

    def interrupt():
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lr.find(ready.learn, [], done=interrupt)
    assert same(before, everything(ready.learn))


def test_the_sweep_rises_exponentially_over_its_range(ready):
    found = lr.find(ready.learn, [], n_steps=20, lr_range=(1e-6, 1e-1))
    assert found.lrs[0] == pytest.approx(1e-6)
    ratios = [b / a for a, b in zip(found.lrs, found.lrs[1:], strict=False)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


def test_nothing_is_written(ready, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    lr.find(ready.learn, [], n_steps=6)
    assert sorted(tmp_path.rglob("*")) == before


def test_from_random_weights_the_recipe_has_a_rate_of_its_own(begin, monkeypatch):
    """What the finder suggests there varies by a hundred from seed to seed (docs/recipe.md)."""
    monkeypatch.setattr(session.Session, "find_lr", lambda s: pytest.fail("the finder was asked"))
    s = begin()
    assert s.lr_is_known and rates.choose(s) == 4e-3 == s.plan(4e-3).phases[0].lrs[-1]


@pytest.mark.parametrize(
    "other", [{"train.opt": "sgd"}, {"train.schedule": "one_cycle"}, {"train.recipe": "book"}], ids=str
)
def test_whoever_chooses_another_recipe_gets_the_finder(begin, other, monkeypatch):
    """A rate of Adam's is none for SGD."""
    monkeypatch.setattr(session.Session, "find_lr", lambda s: lr.Found([], [], {}, 0.01, "found"))
    monkeypatch.setattr(rates, "keep", lambda *_: None)
    s = begin(**other)
    assert not s.lr_is_known and rates.choose(s) == 0.01


def test_the_command_gives_the_contract(tmp_path):
    images = shapes.write(tmp_path / "images", per_class=8)
    plot = tmp_path / "curve.png"
    done = run_here(
        "lrfind", "-d", images, "-a", "resnet18", "--size", 32, "--presize", 40, "-b", 8, "--plot", plot, "--json",
        "--set", "model.pretrained=false", "--set", "data.workers=0", "--set", "train.precision=fp32",
        "--set", "model.cut=-4", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.json["suggestions"]) == {"valley", "slide", "minimum", "steep"}
    assert len(done.json["lrs"]) == len(done.json["losses"]) > 10
    assert done.json["chosen"] > 0
    assert "left to itself, imgclf train takes 0.004, for a ResNet from random weights" in done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")
