"""Watch a fit: what the display shows and the rows of the history."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from fastai.vision.all import AvgSmoothLoss, Callback, CancelFitException, to_detach
from torch import Tensor

from imgclf import ranks
from imgclf.training.best import KeepBest
from imgclf.training.display import Display
from imgclf.training.faults import Divergence
from imgclf.training.interrupt import StopRequest
from imgclf.training.plan import Phase

# How many steps later a loss is read. A GPU gets its next step first: read at once, it would stand still meanwhile.
LATER = {"cuda": 1}


class SmoothLoss(AvgSmoothLoss):
    """fastai's, that stays on the device: to have it on the processor means to wait for the step."""

    val: Tensor

    def accumulate(self, learn: Any) -> None:
        self.count += 1
        loss = to_detach(learn.loss.mean(), cpu=False)
        self.val = torch.lerp(loss, self.val.to(loss), self.beta)


@dataclass(frozen=True)
class Step:
    """A training step: its place, counted from 1, the rate of the last layers, the losses, images a second."""

    epoch: int
    batch: int
    lr: float
    loss: Tensor
    smooth_loss: Tensor
    rate: float


class Watch(Callback):
    """Tell the display what happens, keep the rows of the history, and stop at a loss that is no number."""

    order = 70  # after Recorder and KeepBest

    def __init__(
        self,
        display: Display,
        keep: KeepBest,
        request: StopRequest,
        metrics: list[str],
    ) -> None:
        self.display, self.keep, self.request = display, keep, request
        self.metrics = metrics
        self.rows: list[dict[str, Any]] = []
        self.images, self.seconds = 0, 0.0
        self.phase: Phase | None = None
        self.diverged: Divergence | None = None

    def before_epoch(self) -> None:
        self.epoch_started = time.perf_counter()

    def before_train(self) -> None:
        self.step_started = time.perf_counter()
        self.untold: list[Step] = []

    def after_batch(self) -> None:
        if not self.training:
            self.display.validating(self.iter + 1, self.n_iter)
            return
        now, n = time.perf_counter(), len(self.yb[0]) * ranks.world()
        self.images, self.seconds = self.images + n, self.seconds + now - self.step_started
        rate, self.step_started = n / (now - self.step_started), now
        lr, loss = float(self.opt.hypers[-1]["lr"]), self.loss.detach()
        self.untold.append(Step(self.epoch + 1, self.iter + 1, lr, loss, self.smooth_loss, rate))
        self._tell(LATER.get(loss.device.type, 0))

    def after_train(self) -> None:
        self._tell(0)

    def _tell(self, later: int) -> None:
        """Read the losses of all steps but the last ones."""
        assert self.phase is not None
        while len(self.untold) > later:
            step = self.untold.pop(0)
            loss, smooth = float(step.loss), float(step.smooth_loss)
            self.display.training(self.phase.name, step.epoch, self.phase.epochs, smooth, step.lr, step.rate)
            if not math.isfinite(loss):  # a step the gradient scaler skips has a loss: it is no such case
                self.diverge(f"the loss became {loss}", step.batch)

    def diverge(self, what: str, batch: int | None = None) -> None:
        """End the fit, as one that lost its way: cancelled, so that every callback cleans up.

        Args:
            batch: Where, counted from 1; None: in the last one.
        """
        assert self.phase is not None
        lr = max(float(hyper["lr"]) for hyper in self.opt.hypers)
        self.diverged = Divergence(what, self.phase.name, self.epoch + 1, batch or self.iter + 1, lr)
        raise CancelFitException()

    def after_epoch(self) -> None:
        assert self.phase is not None
        record = [float(v) for v in self.learn.final_record]
        if len(record) < 2 + len(self.metrics):
            return
        best = self.keep.best
        row = {
            "phase": self.phase.name, "epoch": self.epoch + 1, "epochs": self.phase.epochs,
            "train_loss": record[0], "valid_loss": record[1],
            **dict(zip(self.metrics, record[2:], strict=True)),
            "lr": float(self.opt.hypers[-1]["lr"]),
            **({"size": self.phase.sizes[self.epoch]} if self.phase.sizes else {}),
            "seconds": round(time.perf_counter() - self.epoch_started, 3),
            "best": best is not None and (best.phase, best.epoch) == (self.phase.name, self.epoch + 1),
        }  # fmt: skip
        self.rows.append(row)
        self.display.epoch(row)
