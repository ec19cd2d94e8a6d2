"""A phase begun within it: the same batches, learning rates and momenta as the whole phase, with any workers."""

from functools import cache

import pytest
import shapes
import torch
from fastai.vision.all import Callback

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session


class Steps(Callback):
    """Pixels, learning rates, momenta and a random number of every training step."""

    order = 90

    def before_fit(self):
        self.seen, self.pixels = [], []

    def before_batch(self):
        if self.training:
            self.pixels.append(self.xb[0].clone())
            draw = float(torch.rand(()))
            self.seen.append((self.epoch, self.iter, draw, *((h["lr"], h["mom"]) for h in self.opt.hypers)))


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    images = shapes.write(tmp_path_factory.mktemp("within") / "images", per_class=12)

    @cache
    def run(epoch, batch, workers):
        cfg = load_config(
            **{
                "data.path": str(images), "data.batch_size": 7, "data.workers": workers, "augment.presize": 40,
                "augment.size": 32, "model.arch": "resnet18", "model.pretrained": False, "model.cut": -4,
                "train.precision": "fp32", "train.device": "cpu", "train.epochs": 2,
            }
        )  # fmt: skip
        s, seen = session.start(cfg, Terminal(quiet=True)), Steps()
        [phase] = s.plan(1e-3).phases
        run_phase(s.learn, phase, [SeedEpochs(cfg, phase.name, batch), seen], epoch, batch)
        return seen

    return run


@pytest.mark.parametrize(("epoch", "batch", "workers"), [(0, 2, 0), (1, 0, 2), (1, 3, 2)])
def test_the_rest_of_a_phase_is_that_of_the_whole(steps, epoch, batch, workers):
    whole, rest = steps(0, 0, 0), steps(epoch, batch, workers)
    skipped = epoch * (len(whole.seen) // 2) + batch
    assert len(rest.seen) == len(whole.seen) - skipped > 0
    assert rest.seen == whole.seen[skipped:]
    assert all(torch.equal(a, b) for a, b in zip(rest.pixels, whole.pixels[skipped:], strict=True))
