"""What `evaluate` is asked beyond its usual figures: top-k, cross-fitting, abstaining."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imgclf.errors import UserError
from imgclf.results import abstention
from imgclf.results.abstention import Abstention
from imgclf.results.crossfit import cross_fit
from imgclf.results.evaluate import Evaluation, Predictions, check_top_k, top_k
from imgclf.results.multilabel import MultiEvaluation
from imgclf.shipping.inference import Predictor

JUDGED_ONLY = "imgclf evaluate RUN, without --split and --data"


@dataclass(frozen=True)
class Asked:
    """The questions.

    Attributes:
        top_k: How often is the class among the k most probable?
        cross_fit: The figures without the luck of fitting temperature and thresholds on the images judged.
        abstain: How many images are answered at that rate of wrong answers?
    """

    top_k: int | None = None
    cross_fit: bool = False
    abstain: float | None = None

    def check(self, part: str, other: bool) -> None:
        """Refuse what cannot be asked of a part of the split, or of ``other`` images, before any is looked at.

        Raises:
            UserError: for a rate that is no share, or fitting on images that are only judged on.
        """
        if self.abstain is not None:
            abstention.check_rate(self.abstain)
        if self.cross_fit and (other or part != "valid"):
            why = {
                "train": "the train split was trained on",
                "test": "the test split is only ever judged on, its figures are honest",
                "data": "the images of --data are only ever judged on, their figures are honest",
            }["data" if other else part]
            raise UserError(f"--cross-fit fits on the validation images; {why}", JUDGED_ONLY)

    def check_model(self, predictor: Predictor, chosen_here: bool) -> None:
        """Refuse what this model cannot be asked, before any image is looked at.

        Raises:
            UserError: for a question about the one right class, where there are several, or a k that says nothing.
            ModelError: for a threshold that is the model's to say, and it has none.
        """
        if self.top_k is not None:
            check_top_k(self.top_k, len(predictor.classes), predictor.task)
        if self.abstain is not None and (predictor.task == "multi" or not chosen_here):
            predictor.least_prob(self.abstain)

    def answer(
        self, found: Evaluation | MultiEvaluation, raw: Predictions, predictor: Predictor, chosen_here: bool
    ) -> Evaluation | MultiEvaluation:
        """The figures, with the answers to what was asked.

        Args:
            chosen_here: Whether these are the images on which thresholds are chosen; others are only judged on.
        """
        more: dict[str, Any] = {}
        if self.top_k is not None:
            more["top_k_accuracy"] = top_k(raw, self.top_k)
        if self.cross_fit:
            more["cross_fit"] = cross_fit(raw)
        if self.abstain is not None:
            more["abstention"] = abstaining(raw, predictor, self.abstain, chosen_here)
        return replace(found, **more) if more else found


def abstaining(raw: Predictions, predictor: Predictor, rate: float, chosen_here: bool) -> Abstention:
    """The threshold for a rate of wrong answers, chosen on these images or the model's own, and what comes of it.

    Raises:
        ModelError: if the threshold is the model's to say, and it has none.
    """
    if chosen_here:
        found = abstention.choose_here(raw.probs, raw.targets, rate)
    else:
        known = predictor.least_prob(rate)
        found = Abstention(rate, False, True, abstention.judged(raw.probs, raw.targets, *known))
    if raw.distances is None:
        return found
    given = raw.probs.max(1).astype(np.float64) >= found.choice.threshold
    return replace(found, unlike=int((given & (raw.distances > 1)).sum()))
