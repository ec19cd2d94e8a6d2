"""Tell of every step and every epoch of a fit: what trackers and other programs learn of it."""

from collections.abc import Callable

from fastai.vision.all import Callback

from imgclf.training.plan import Plan
from imgclf.training.watch import Watch


class Telling(Callback):
    """Call ``tell("step", …)`` after each training batch and ``tell("epoch", …)`` with each row of the history.

    ``step`` counts the training batches of all phases from 1. It comes from the place and not from a counter, so that
    a resumed run gives the same step the same number.
    """

    order = 72  # after Watch, which makes the rows, and before Saver, which may end the fit

    def __init__(self, tell: Callable[..., object], watch: Watch, plan: Plan) -> None:
        self.tell, self.watch, self.plan = tell, watch, plan

    def before_epoch(self) -> None:
        self.told = len(self.watch.rows)

    def after_batch(self) -> None:
        if self.training and self.watch.phase:
            lrs = [float(hyper["lr"]) for hyper in self.opt.hypers]
            loss = float(self.loss)
            self.tell("step", step=self._step(self.iter + 1), phase=self.watch.phase.name, train_loss=loss, lrs=lrs)

    def after_epoch(self) -> None:
        if len(self.watch.rows) > self.told and self.watch.phase:
            batches = self.plan.batches_per_epoch if self.watch.phase.epochs_of_steps else 0
            self.tell("epoch", step=self._step(batches), **self.watch.rows[-1])

    def _step(self, batches: int) -> int:
        """The number of the step that ends ``batches`` batches of this epoch."""
        names = [phase.name for phase in self.plan.phases]
        assert self.watch.phase is not None
        before = self.plan.phases[: names.index(self.watch.phase.name)]
        epochs = sum(phase.epochs_of_steps for phase in before) + int(self.epoch)
        return epochs * self.plan.batches_per_epoch + batches
