"""The book's recipe, run visibly phase by phase, is fastai's own ``fine_tune``: loss for loss, weight for weight."""

import pytest
import shapes
import torch
from fastai.vision.all import Callback, set_seed
from torchvision.models import resnet18

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs, seed
from imgclf.workflow import session

LR = 3e-3


class Steps(Callback):
    """The loss and the learning rates of every training step."""

    order = 90

    def before_fit(self):
        self.seen = getattr(self, "seen", [])

    def after_batch(self):
        if self.training:
            self.seen.append((float(self.loss), *(h["lr"] for h in self.opt.hypers)))


class SeedBothFits(Callback):
    """What ``SeedEpochs`` does for our phases, for the fits of fastai one after another."""

    order = -100

    def __init__(self, cfg, phases=("frozen", "unfrozen")):
        self.cfg, self.phases = cfg, iter(phases)

    def before_fit(self):
        self.phase = next(self.phases)

    def before_epoch(self):
        seed(self.cfg, self.phase, self.epoch, dls=self.dls)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine_tune")
    images, weights = shapes.write(folder / "images", per_class=12), folder / "weights.pth"
    set_seed(3)
    torch.save(resnet18(weights=None).state_dict(), weights)

    def start(**more):
        settings = {
            "data.path": str(images), "data.batch_size": 10, "data.workers": 0,
            "augment.presize": 40, "augment.size": 32, "augment.engine": "fastai",
            "model.arch": "resnet18", "model.weights": str(weights), "model.cut": -4,
            "train.recipe": "book", "train.precision": "fp32", "train.device": "cpu",
            "train.epochs": 2, "train.freeze_epochs": 1, **more,
        }  # fmt: skip
        cfg = load_config(**settings)
        return cfg, session.start(cfg, Terminal(quiet=True))

    return start


@pytest.mark.parametrize("settings", [{}, {"train.lr_mult": 10.0, "train.wd": 0.1, "train.train_bn": False}])
def test_two_phases_equal_fine_tune(make, settings):
    cfg, ours = make(**settings)
    mine = Steps()
    plan = ours.plan(LR)
    for phase in plan.phases:
        ours.learn.freeze_to(phase.freeze_to)
        run_phase(ours.learn, phase, [SeedEpochs(cfg, phase.name), mine])

    cfg, reference = make(**settings)
    theirs = Steps()
    mult = {"lr_mult": settings["train.lr_mult"]} if settings else {}
    reference.learn.fine_tune(2, LR, freeze_epochs=1, cbs=[SeedBothFits(cfg), theirs], **mult)

    assert len(mine.seen) == plan.steps
    assert mine.seen == theirs.seen
    for name, value in reference.learn.model.state_dict().items():
        assert torch.equal(value, ours.learn.model.state_dict()[name]), name


STAGES = [{"epochs": 1, "freeze_to": -1, "lr": 2e-3}, {"epochs": 1, "freeze_to": -2, "lr": [1e-4, 1e-3]}]


def staged(learn, cbs):
    """What a notebook does by hand."""
    learn.freeze_to(-1)
    learn.fit_one_cycle(1, 2e-3, cbs=cbs)
    learn.freeze_to(-2)
    learn.fit_one_cycle(1, slice(1e-4, 1e-3), cbs=cbs)


def unfrozen(fit):
    def run(learn, cbs):
        learn.unfreeze()
        getattr(learn, fit)(2, LR, cbs=cbs)

    return run


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"train.schedule": "one_cycle"}, unfrozen("fit_one_cycle")),
        ({"train.schedule": "flat_cos"}, unfrozen("fit_flat_cos")),
        ({"train.schedule": "staged", "train.stages": STAGES, "train.epochs": 3}, staged),
    ],
    ids=["one_cycle", "flat_cos", "staged"],
)
def test_every_schedule_equals_fastais_own_calls(make, settings, reference):
    cfg, ours = make(**{"train.recipe": "auto", "train.freeze_epochs": "auto", **settings})
    mine, theirs = Steps(), Steps()
    phases = ours.plan(LR).phases
    for phase in phases:
        ours.learn.freeze_to(phase.freeze_to)
        run_phase(ours.learn, phase, [SeedEpochs(cfg, phase.name), mine])

    _, other = make(**{"train.recipe": "auto", "train.freeze_epochs": "auto", **settings})
    reference(other.learn, [SeedBothFits(cfg, [p.name for p in phases]), theirs])
    assert len(mine.seen) == ours.plan(LR).steps > 0
    assert mine.seen == theirs.seen
    for name, value in other.learn.model.state_dict().items():
        assert torch.equal(value, ours.learn.model.state_dict()[name]), name


def test_another_learning_rate_is_another_run(make):
    """The test above can fail: the same comparison, one number changed."""
    losses = []
    for lr in (LR, 1.01 * LR):
        cfg, s = make()
        steps = Steps()
        run_phase(s.learn, s.plan(lr).phases[1], [SeedEpochs(cfg, "unfrozen"), steps])
        losses.append([loss for loss, *_ in steps.seen])
    assert losses[0][0] == losses[1][0]
    assert losses[0] != losses[1]


def test_the_same_seed_gives_the_same_weights_with_workers(make):
    states = []
    for seed_value in (5, 5, 6):
        cfg, s = make(**{"data.workers": 2, "seed": seed_value})
        run_phase(s.learn, s.plan(LR).phases[0], [SeedEpochs(cfg, "frozen")])
        states.append(torch.cat([p.detach().flatten() for p in s.learn.model[1].parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
