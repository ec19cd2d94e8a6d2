"""The learner tells callbacks of the same events as fastai's, and of a GPU's losses a step later."""

import math

import pytest
import torch
from fastai.callback.core import event
from fastai.vision.all import AvgSmoothLoss, Callback, CancelStepException, DataLoader, DataLoaders, Learner, noop
from torch import nn

from imgclf.training.learner import OwnEvents
from imgclf.training.watch import SmoothLoss

EVENTS = [name for name in vars(event) if not name.startswith("_")]


def made(kind, callbacks, smooth=None):
    torch.manual_seed(0)
    rows = [(torch.rand(6), torch.tensor(i % 2)) for i in range(8)]
    dls = DataLoaders(*[DataLoader(rows, bs=4) for _ in range(2)])
    learn = kind(dls, nn.Linear(6, 2), loss_func=nn.CrossEntropyLoss(), cbs=callbacks)
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    if smooth:
        learn.recorder.smooth_loss = smooth
    learn.fit(2, lr=0.1)
    return learn


class Hears(Callback):
    """Writes down every event that it has a method for, and skips the second step."""

    def before_step(self):
        if self.iter == 1:
            raise CancelStepException()


def hearing(order):
    heard = []

    def note(name):
        def method(self):
            heard.append((order, name))
            return Hears.before_step(self) if name == "before_step" and order else None

        return method

    kind = type("Heard", (Callback,), {"order": order, **{name: note(name) for name in EVENTS[1:]}})
    return kind(), heard


def test_every_callback_is_told_what_fastai_tells():
    found = {}
    for kind in (Learner, OwnEvents):
        (first, early), (second, late) = hearing(0), hearing(70)
        own = []
        made(kind, [second, first, Callback(before_epoch=lambda self, own=own: own.append(self.epoch))])
        found[kind] = early, late, own
    assert found[OwnEvents] == found[Learner]
    early, late, own = found[OwnEvents]
    assert {"before_fit", "after_cancel_step", "after_step", "after_fit"} <= {name for _, name in late}
    assert own == [0, 1]


def test_a_callback_that_did_not_run_runs_in_the_next_fit():
    learn = made(OwnEvents, [])
    resting = Callback()
    learn.add_cb(resting)
    resting.run = False
    learn.fit(1)
    assert resting.run


def test_the_smoothed_loss_is_fastais():
    losses = {kind: made(Learner, [], kind()) for kind in (AvgSmoothLoss, SmoothLoss)}
    theirs, ours = (learn.recorder for learn in losses.values())
    assert [float(v) for v in ours.losses] == [float(v) for v in theirs.losses]
    assert ours.values[-1][0] == theirs.values[-1][0] and math.isfinite(ours.values[-1][0])


@pytest.mark.parametrize("step", range(2))
def test_an_unknown_event_is_no_silence(step):
    with pytest.raises(Exception, match="missing"):
        made((Learner, OwnEvents)[step], [])("no_such_event")
