"""Run the plan: each phase is one fit of fastai with our callbacks."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastai.vision.all import (
    Callback,
    CancelFitException,
    CancelTrainException,
    CancelValidException,
    Learner,
)

from imgclf.errors import UserError
from imgclf.schema import Config
from imgclf.training.best import Best, KeepBest
from imgclf.training.display import Display
from imgclf.training.interrupt import StopRequest
from imgclf.training.plan import Phase, Plan
from imgclf.training.schedule import StartAt
from imgclf.training.seeding import SeedEpochs

HISTORY_FACTS = ("phase", "epoch", "epochs", "train_loss", "valid_loss")


@dataclass(frozen=True)
class Fitted:
    """What a fit reached. ``seconds`` and ``images_per_second`` are of the training batches alone."""

    best: Best | None
    rows: list[dict[str, Any]]
    interrupted: bool
    seconds: float
    images_per_second: float


class Watch(Callback):
    """Tell the display what happens, keep the rows of the history, and stop when the user asks."""

    order = 70  # after Recorder and KeepBest

    def __init__(
        self,
        display: Display,
        keep: KeepBest,
        request: StopRequest,
        metrics: list[str],
        write: Callable[[list[dict[str, Any]]], object],
    ) -> None:
        self.display, self.keep, self.request = display, keep, request
        self.metrics, self.write = metrics, write
        self.rows: list[dict[str, Any]] = []
        self.images, self.seconds = 0, 0.0
        self.phase: Phase | None = None

    def before_epoch(self) -> None:
        self.epoch_started = time.perf_counter()

    def before_train(self) -> None:
        self.step_started = time.perf_counter()

    def after_batch(self) -> None:
        if not self.training:
            self.display.validating(self.iter + 1, self.n_iter)
            return
        assert self.phase is not None
        now, n = time.perf_counter(), len(self.yb[0])
        loss = float(self.smooth_loss)
        self.images, self.seconds = self.images + n, self.seconds + now - self.step_started
        rate, self.step_started = n / (now - self.step_started), now
        self.display.training(self.phase.name, self.epoch + 1, self.phase.epochs, loss, self.opt.hypers[-1]["lr"], rate)
        if not math.isfinite(float(self.loss)):
            raise UserError(
                f"the loss became {float(self.loss)} in epoch {self.epoch + 1} of the {self.phase.name} phase",
                "lower the learning rate (`imgclf lrfind` suggests one), or use --set train.precision=fp32",
            )
        if self.request.asked:
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
            "seconds": round(time.perf_counter() - self.epoch_started, 3),
            "best": best is not None and (best.phase, best.epoch) == (self.phase.name, self.epoch + 1),
        }  # fmt: skip
        self.rows.append(row)
        self.write(self.rows)
        self.display.epoch(row)


class FirstBatchOnly(Callback):
    """Cut every training and validation pass to its first batch, and time that: a rehearsal.

    Not called OneBatch: a Learner gets each callback as an attribute, and has a method ``one_batch``.
    """

    order = 80

    def before_train(self) -> None:
        self.started = time.perf_counter()

    def before_validate(self) -> None:
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        seconds = time.perf_counter() - self.started
        if self.training:
            self.train_seconds = seconds
        else:
            self.valid_seconds = seconds
        raise CancelTrainException() if self.training else CancelValidException()


def fit(
    learn: Learner, plan: Plan, *, cfg: Config, keep: KeepBest, watch: Watch, extra: tuple[Any, ...] = ()
) -> Fitted:
    """Fit all phases. An interrupted fit has kept its best epoch, or its last state when no epoch was complete."""
    for phase in plan.phases:
        keep.phase, watch.phase = phase.name, phase
        learn.freeze_to(phase.freeze_to)
        run_phase(learn, phase, [SeedEpochs(cfg, phase.name), keep, watch, *extra])
        if watch.request.asked:
            break
    if watch.request.asked and keep.best is None:
        _judge_unfinished(learn, keep)
    rate = watch.images / watch.seconds if watch.seconds else 0.0
    return Fitted(keep.best, watch.rows, watch.request.asked, watch.seconds, rate)


def run_phase(learn: Learner, phase: Phase, callbacks: list[Any], epoch: int = 0, batch: int = 0) -> None:
    """One ``fit_one_cycle`` or ``fit_flat_cos``, as in ``fine_tune``; or what is left of it from a batch on."""
    start = StartAt(epoch, phase.epochs, batch)
    cbs = [start, start.position, *callbacks]
    lrs, curve, epochs = list(phase.lrs), phase.curve, phase.epochs - epoch
    if curve.shape == "flat_cos":
        learn.fit_flat_cos(epochs, lrs, pct_start=curve.pct_start, cbs=cbs)
    else:
        learn.fit_one_cycle(epochs, lrs, pct_start=curve.pct_start, div=curve.div, cbs=cbs)


def _judge_unfinished(learn: Learner, keep: KeepBest) -> None:
    """Validate what an interrupted first epoch reached, so that the model saved has its figures."""
    keep.learn = learn
    loss, value = [float(v) for v in learn.validate()[:2]]
    keep.consider(loss, value, 0)
