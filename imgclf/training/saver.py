"""Keep a run resumable: what a learner is made of, when it is saved, and how it is put back."""

import math
import time
from collections.abc import Callable
from typing import Any

from fastai.vision.all import Callback, CancelFitException, L, Learner, get_model

from imgclf.schema import Config
from imgclf.training import faults
from imgclf.training.checkpoint import Checkpoint, Place
from imgclf.training.plan import Plan
from imgclf.training.watch import Watch


def capture(learn: Learner) -> dict[str, Any]:
    """All of a learner that a later step depends on; tensors are not copied."""
    scaler, ema, answers = (getattr(learn, name, None) for name in ("scaler", "ema", "out_of_fold"))
    return {
        "model": get_model(learn.model).state_dict(),
        "ema": ema.averaged.state_dict() if ema else {},
        "opt": learn.opt.state_dict(),
        "scaler": scaler.state_dict() if scaler else {},
        "out_of_fold": answers.state() if answers else {},
        "micro": dict(learn.micro_batches.limits),
        "smooth_loss": {"count": learn.recorder.smooth_loss.count, "val": learn.recorder.smooth_loss.val},
    }


class Saver(Callback):
    """Save at the start, at every epoch's end and every so many minutes, and stop where the user asked to.

    At an epoch's end the order is checkpoint, bundle, history: a process killed between two of them finds in the
    checkpoint what the later ones need.

    Args:
        save: Writes a place and a learner's state.
        write_history: Writes the rows of all epochs.
        resumed: The checkpoint to go on from.
    """

    order = 75  # after Watch

    def __init__(
        self,
        cfg: Config,
        plan: Plan,
        watch: Watch,
        save: Callable[[Place, dict[str, Any]], object],
        write_history: Callable[[list[dict[str, Any]]], object],
        resumed: Checkpoint | None = None,
    ) -> None:
        self.plan, self.watch, self.write, self.write_history = plan, watch, save, write_history
        self.resumed, self.place = resumed, resumed.place if resumed else Place()
        self.patience = cfg.train.patience
        self.interval = cfg.train.checkpoint_minutes * 60
        self.saved_at = time.monotonic()
        self.stale = False  # whether the last checkpoint lacks what the plan has

    def complete(self, plan: Plan) -> Plan:
        """Go on with a plan whose rates have been found."""
        self.plan, self.stale = plan, True
        return plan

    def restore(self, learn: Learner) -> None:
        """Put the model back, and whatever the checkpoint was written before."""
        if not self.resumed:
            return
        learn.model.load_state_dict(self.resumed.state["model"])
        if self.resumed.state.get("ema"):
            learn.ema.averaged.load_state_dict(self.resumed.state["ema"])
        if self.resumed.state.get("out_of_fold"):
            learn.out_of_fold.restore(self.resumed.state["out_of_fold"])
        learn.micro_batches.limits |= self.resumed.state.get("micro", {})
        self.watch.rows = list(self.resumed.rows)
        self.watch.keep.go_on(self.resumed.best, self.resumed.rows)
        if self.resumed.is_best:
            self.watch.keep.keep(learn)
        if self.resumed.rows:
            self.write_history(self.resumed.rows)

    def restore_optimizer(self, learn: Learner) -> None:
        """Put the optimizer back, after ``freeze_to``, which clears it."""
        if not self.resumed:
            return
        state = self.resumed.state["opt"]
        learn.opt.load_state_dict({**state, "hypers": L(dict(h) for h in state["hypers"])})
        if self.place.begins_phase:
            learn.opt.clear_state()

    def before_fit(self) -> None:
        if self.resumed:
            state, smooth = self.resumed.state, self.learn.recorder.smooth_loss
            if not self.place.begins_phase:
                for hyper, saved in zip(self.opt.hypers, state["opt"]["hypers"], strict=True):
                    hyper.update(saved)  # fit has just set the highest rates; after an epoch's last step no other come
                smooth.count, smooth.val = state["smooth_loss"]["count"], state["smooth_loss"]["val"].cpu()
                if state["scaler"]:
                    self.learn.scaler.load_state_dict(state["scaler"])
            self.resumed = None  # the next phase begins as it always does
            if self.place.begins_phase:
                self._save(self.place)  # its plan may have been extended
        elif self.place == Place() or self.stale:
            self._save(self.place)

    def after_batch(self) -> None:
        if not self.training:
            return
        asked = self.watch.request.asked
        if asked or time.monotonic() - self.saved_at >= self.interval:
            self._save(Place(self.place.phase, self.epoch, self.iter + 1))
        if asked:
            raise CancelFitException()

    def after_epoch(self) -> None:
        phase, epoch = self.place.phase, self.epoch + 1
        if epoch == self.plan.phases[phase].epochs:
            phase, epoch = phase + 1, 0
        if self._patience_is_over():
            phase, epoch = len(self.plan.phases), 0
        self._save(Place(phase, epoch, 0))
        self.watch.keep.write()
        if self.watch.rows:
            self.write_history(self.watch.rows)
            self._warn_of_validation(self.watch.rows[-1])
        if phase == len(self.plan.phases):
            raise CancelFitException()

    def _patience_is_over(self) -> bool:
        """Whether too many epochs have passed since the best; the rows say, so a resumed run decides the same."""
        last = self.watch.rows[-self.patience :] if self.patience else []
        return len(self.watch.rows) > len(last) > 0 and not any(row["best"] for row in last)

    def _warn_of_validation(self, row: dict[str, Any]) -> None:
        """A loss that is no number in validation alone; weights that are none have ended the fit before."""
        if not math.isfinite(row["valid_loss"]):
            self.watch.display.terminal.warn(
                f"the validation loss is {row['valid_loss']} in epoch {row['epoch']} of the {row['phase']} phase, "
                "while the weights and the training loss are numbers: predictions overflow, or BatchNorm's statistics "
                "are far off. Training goes on; if it stays, lower --lr or use --set train.precision=fp32"
            )

    def _save(self, place: Place) -> None:
        if not faults.finite(self.learn.model):  # the step after a loss that still was a number
            self.watch.diverge("weights became nan")
        self.place = place
        self.write(place, capture(self.learn))
        self.stale = False
        self.saved_at = time.monotonic()
