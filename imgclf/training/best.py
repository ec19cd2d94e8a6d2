"""The best epoch over all phases, by one named metric; the lower validation loss decides a tie."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fastai.vision.all import Callback

from imgclf.training.features import Said
from imgclf.training.scores import Score

# Metrics that differ less, as a share, are the same: they are means over batches in float32, whose rounding differs
# from pass to pass. One image of a million is more.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Best:
    """The best epoch so far; ``epoch`` counts from 1 within its phase."""

    phase: str
    epoch: int
    metric: str
    value: float
    valid_loss: float


class KeepBest(Callback):
    """Compare every epoch with the best one of all phases; ``write`` then calls ``keep`` if it is better.

    fastai's ``SaveModelCallback`` forgets its best between two fits, so that a phase can overwrite a better earlier
    one.
    """

    order = 60  # after Recorder

    def __init__(self, metric: str, score: Score, keep: Callable[[Any], object]) -> None:
        self.metric, self.score, self.keep = metric, score, keep
        self.best: Best | None = None
        self.said: Said | None = None  # by the best epoch's validation, where it was heard
        self.phase = ""
        self.improved = False

    def go_on(self, best: Best | None, rows: list[dict[str, Any]]) -> None:
        """From the best epoch of a run so far; where another metric decides now, with that epoch's value of it.

        Args:
            rows: Of all whole epochs so far, each with every metric by name.
        """
        if best is not None and best.metric != self.metric:
            values = [row.get(self.metric) for row in rows if (row["phase"], row["epoch"]) == (best.phase, best.epoch)]
            best = replace(best, metric=self.metric, value=values[0]) if values and values[0] is not None else None
        self.best = best

    def after_epoch(self) -> None:
        record = self.learn.final_record
        if len(record) < 3:  # cancelled before its validation was complete
            return
        self.improved = self._improves(float(record[1]), float(record[2]), self.epoch + 1)

    def write(self) -> None:
        """Keep the model of the epoch just done if it is the best."""
        if self.improved:
            self.keep(self.learn)
            self.said = self.learn.heard.said if self.learn.heard.exact else None
        self.improved = False

    def consider(self, valid_loss: float, value: float, epoch: int) -> None:
        """Keep the model at once if this beats the best."""
        self.improved = self._improves(valid_loss, value, epoch)
        self.write()

    def _improves(self, valid_loss: float, value: float, epoch: int) -> bool:
        rank = self._rank(value, valid_loss)
        if self.best is not None:
            kept = self._rank(self.best.value, self.best.valid_loss)
            same = math.isclose(rank[0], kept[0], rel_tol=ROUNDING)
            if rank[1] >= kept[1] if same else rank > kept:
                return False
        self.best = Best(self.phase, epoch, self.metric, value, valid_loss)
        return True

    def _rank(self, value: float, valid_loss: float) -> tuple[float, float]:
        signed = -value if self.score.higher_is_better else value
        return (
            signed if math.isfinite(signed) else math.inf,
            valid_loss if math.isfinite(valid_loss) else math.inf,
        )
