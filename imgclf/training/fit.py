"""Run the plan: each phase is one fit of fastai with our callbacks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastai.vision.all import (
    Callback,
    CancelTrainException,
    CancelValidException,
    Learner,
)

from imgclf.schema import Config
from imgclf.training import ema
from imgclf.training.best import Best, KeepBest
from imgclf.training.faults import Diverged
from imgclf.training.features import Said
from imgclf.training.plan import Phase, Plan
from imgclf.training.saver import Saver
from imgclf.training.schedule import Resize, StartAt
from imgclf.training.seeding import SeedEpochs
from imgclf.training.watch import Watch


@dataclass(frozen=True)
class Fitted:
    """What a fit reached.

    ``said`` is what the best epoch's validation said of its images, where that was heard; ``seconds`` and
    ``images_per_second`` are of the training batches alone.
    """

    best: Best | None
    said: Said | None
    rows: list[dict[str, Any]]
    interrupted: bool
    seconds: float
    images_per_second: float


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
    learn: Learner,
    plan: Plan,
    *,
    cfg: Config,
    keep: KeepBest,
    watch: Watch,
    saver: Saver,
    familiar: bool = True,
    complete: Callable[[Plan, int], Plan] = lambda plan, number: plan,
) -> Fitted:
    """Fit all phases, or those left. An interrupted fit has kept its best epoch, or its last state without one.

    Args:
        familiar: The body's last layers suit the images.
        complete: The plan with the learning rates that were to be found when a phase, by its number, begins. It is a
            function of the model at that place, so a run resumed there finds the same ones.

    Raises:
        Diverged: if the loss or the weights are no numbers any more. The last checkpoint is good.
    """
    averaging = ema.callbacks(ema.chosen(cfg, learn.probe is not None, familiar)[0], learn.model)

    def completed(plan: Plan, number: int) -> Plan:
        with learn.removed_cbs(averaging):  # a sweep's weights are none of the run's
            return complete(plan, number)

    with learn.added_cbs(averaging):
        return _fit(learn, plan, cfg, keep, watch, saver, completed)


def _fit(
    learn: Learner,
    plan: Plan,
    cfg: Config,
    keep: KeepBest,
    watch: Watch,
    saver: Saver,
    complete: Callable[[Plan, int], Plan],
) -> Fitted:
    start = saver.place
    saver.restore(learn)
    for number in range(start.phase, len(plan.phases)):
        phase, begun = plan.phases[number], number == start.phase
        keep.phase, watch.phase = phase.name, phase
        learn.freeze_to(phase.freeze_to)
        learn.model.zero_grad(set_to_none=True)  # a gradient left over, though zero, would let weight decay act
        saver.restore_optimizer(learn)
        if not phase.lrs:
            watch.phase = None  # a sweep's steps are none of the run's
            plan = complete(plan, number)
            if watch.request.asked:  # while looking
                break
            phase = watch.phase = saver.complete(plan).phases[number]
        epoch, batch = (start.epoch, start.batch) if begun else (0, 0)
        run_phase(learn, phase, [SeedEpochs(cfg, phase.name, batch), keep, watch, saver], epoch, batch)
        if watch.diverged:
            raise Diverged(watch.diverged)
        if watch.request.asked or saver.place.phase == len(plan.phases):
            break
    if watch.request.asked and keep.best is None:
        _judge_unfinished(learn, keep)
    rate = watch.images / watch.seconds if watch.seconds else 0.0
    return Fitted(keep.best, keep.said, watch.rows, watch.request.asked, watch.seconds, rate)


def run_phase(learn: Learner, phase: Phase, callbacks: list[Any], epoch: int = 0, batch: int = 0) -> None:
    """One ``fit_one_cycle`` or ``fit_flat_cos``, as in ``fine_tune``; or what is left of it from a batch on."""
    start = StartAt(epoch, phase.epochs, batch)
    cbs = [start, start.position, Resize(phase.sizes), *callbacks]
    if learn.heard.exact or phase.curve.shape == "closed_form":
        cbs.append(learn.heard)
    lrs, curve, epochs = list(phase.lrs), phase.curve, phase.epochs - epoch
    if curve.shape == "closed_form":
        learn.fit(1, lrs, cbs=[*cbs, learn.probe])
    elif curve.shape == "flat_cos":
        learn.fit_flat_cos(epochs, lrs, pct_start=curve.pct_start, cbs=cbs)
    else:
        learn.fit_one_cycle(epochs, lrs, pct_start=curve.pct_start, div=curve.div, cbs=cbs)


def _judge_unfinished(learn: Learner, keep: KeepBest) -> None:
    """Validate what an interrupted first epoch reached, so that the model saved has its figures."""
    keep.learn = learn
    loss, value = [float(v) for v in learn.validate()[:2]]
    keep.consider(loss, value, 0)
