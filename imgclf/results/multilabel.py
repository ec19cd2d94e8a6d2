"""What predictions of several labels an image are worth.

Each label of each image is a decision of its own, taken at the label's threshold. Letters in the shapes: N images,
C labels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from imgclf.console import finite, some
from imgclf.results import calibration, metrics, thresholds
from imgclf.results.metrics import Interval

if TYPE_CHECKING:
    from imgclf.results.evaluate import Predictions

MOST_NATS = -float(np.log(np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class MultiEvaluation:
    """Every figure about one set of predictions of several labels; ``to_dict`` is the JSON of `imgclf evaluate`.

    ``accuracy`` is the share of images whose set of labels is exactly right, ``accuracy_multi`` the share of right
    decisions, ``hamming_loss`` that of wrong ones. ``mean_ap`` (``mAP`` in the JSON) is the mean average precision
    over the labels that occur here, which no threshold touches; NaN (null) if none occurs. ``macro_f1`` is the mean
    F1 of the labels that occur or are given, ``micro_f1`` the F1 of all decisions together. ``valid_loss`` is the
    mean binary cross-entropy in nats of the plain logits; ``loss`` and ``prob`` of ``top_losses`` are calibrated.
    ``ece_*`` are expected calibration errors over all N x C decisions before and after the temperature.
    """

    n: int
    accuracy: Interval
    error_rate: float
    accuracy_multi: float
    mean_ap: float
    macro_f1: float
    macro_f1_interval: Interval
    micro_f1: float
    hamming_loss: float
    valid_loss: float
    ece_before: float | None
    ece_after: float
    classes: tuple[str, ...]
    per_class: list[dict[str, Any]]
    top_losses: list[dict[str, Any]]
    warnings: list[str]
    cross_fit: Any = None
    unlike: dict[str, Any] | None = None
    baselines: dict[str, Any] | None = None
    learning_curve: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values, ``mean_ap`` as ``mAP``; null where there is no number."""
        fields = {("mAP" if key == "mean_ap" else key): value for key, value in asdict(self).items()}
        if self.cross_fit is not None:
            fields["cross_fit"] = self.cross_fit.to_dict()
        optional = ("cross_fit", "unlike", "baselines", "learning_curve")
        return dict(finite({key: v for key, v in fields.items() if key not in optional or v is not None}))


def evaluate(predictions: "Predictions", top_losses: int) -> MultiEvaluation:
    """Judge predictions that ``results.evaluate`` has checked: there are images, and all answers are numbers."""
    probs, targets = predictions.probs, predictions.targets > 0
    given = thresholds.decide(probs, predictions.thresholds)
    accuracy = metrics.wilson(int((given == targets).all(1).sum()), len(targets))
    rows = per_class(probs, targets, predictions.classes, predictions.thresholds)
    wrong = float((given != targets).mean())
    macro_f1 = macro_f1_interval(given, targets)
    plain = None if predictions.temperature is None else calibration.sigmoid(predictions.logits)
    return MultiEvaluation(
        n=len(targets),
        accuracy=accuracy,
        error_rate=1 - accuracy.value,
        accuracy_multi=1 - wrong,
        mean_ap=_mean([row["ap"] for row in rows if row["ap"] is not None]),
        macro_f1=macro_f1.value,
        macro_f1_interval=macro_f1,
        micro_f1=_micro_f1(rows),
        hamming_loss=wrong,
        valid_loss=float(losses(predictions.logits, targets).mean()),
        ece_before=None if plain is None else calibration.expected_calibration_error(plain, targets),
        ece_after=calibration.expected_calibration_error(probs, targets),
        classes=predictions.classes,
        per_class=rows,
        top_losses=_top_losses(predictions, given, top_losses),
        warnings=_warnings(len(targets), rows),
    )


def per_class(
    probs: np.ndarray, targets: np.ndarray, classes: Sequence[str], at: tuple[float, ...] | None = None
) -> list[dict[str, Any]]:
    """A row a label: ``class``, ``n`` images that have it, ``precision``, ``recall``, ``f1``, ``ap``, ``threshold``.

    And the four counts ``tp``, ``fp``, ``fn``, ``tn``. A figure that is undefined is 0.0, as where a label is never
    given; the average precision ``ap`` of a label that no image has is None.

    Args:
        probs: (N, C).
        targets: (N, C) bool.
        at: C thresholds; None: 0.5 each.
    """
    given = thresholds.decide(probs, at)
    used = (thresholds.DEFAULT,) * len(classes) if at is None else at
    counts = [(a & b).sum(0).tolist() for a in (targets, ~targets) for b in (given, ~given)]
    return [
        {
            "class": name,
            "n": tp + fn,
            "precision": _share(tp, tp + fp),
            "recall": _share(tp, tp + fn),
            "f1": _share(2 * tp, 2 * tp + fp + fn),
            "ap": average_precision(probs[:, i], targets[:, i]),
            "threshold": float(used[i]),
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "tn": tn,
        }
        for i, (name, tp, fn, fp, tn) in enumerate(zip(classes, *counts, strict=True))
    ]


def average_precision(probs: np.ndarray, there: np.ndarray) -> float | None:
    """The area below precision over recall of one label, (N,) each; None if no image has it."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(there, probs)) if there.any() else None


def macro_f1_interval(given: np.ndarray, targets: np.ndarray) -> Interval:
    """The mean F1 of the labels that occur or are given, (N, C) bool each, with its bootstrap interval over images."""
    tp = (given & targets).astype(np.float64)
    either = given.astype(np.float64) + targets

    def of_weighted(images: np.ndarray) -> float:
        return metrics.mean_f1(images @ tp, images @ either)

    low, high = metrics.bootstrap(of_weighted, len(targets))
    return Interval(of_weighted(np.ones(len(targets))), low, high, len(targets))


def losses(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Mean binary cross-entropy of each image's decisions in nats, (N,); a decision counts at most 87.3."""
    each = calibration.binary_cross_entropies(logits, targets, temperature)
    mean: np.ndarray = np.minimum(each, MOST_NATS).mean(1)
    return mean


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan


def _micro_f1(rows: Sequence[dict[str, Any]]) -> float:
    tp, mistakes = sum(row["tp"] for row in rows), sum(row["fp"] + row["fn"] for row in rows)
    return 2 * tp / (2 * tp + mistakes) if tp + mistakes else nan


def _top_losses(predictions: "Predictions", given: np.ndarray, most: int) -> list[dict[str, Any]]:
    """The images the model got most wrong, or was least sure of: highest loss first."""
    loss = losses(predictions.logits, predictions.targets, predictions.temperature or 1.0)
    highest = predictions.probs.max(1)
    found = []
    for i in np.argsort(-loss, kind="stable")[:most].tolist():
        labels, preds = (names(predictions.classes, row[i]) for row in (predictions.targets, given))
        found.append(
            {
                "path": predictions.paths[i],
                "label": ", ".join(labels),
                "labels": labels,
                "pred": ", ".join(preds),
                "preds": preds,
                "loss": float(loss[i]),
                "prob": float(highest[i]),
            }
        )
    return found


def names(classes: Sequence[str], row: np.ndarray) -> list[str]:
    """The labels of one image, of its row (C,) of 0 and 1."""
    return [name for name, on in zip(classes, row, strict=True) if on]


def _warnings(n: int, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know before trusting the figures."""
    found = [f"only {n} images: the accuracy may lie anywhere in its interval"] if n < metrics.FEW_IMAGES else []
    missing = [row["class"] for row in rows if row["n"] == 0]
    if missing:
        found.append(f"{len(missing)} of {len(rows)} labels have no image here and so no AP: {some(missing)}")
    return found + metrics.few_images([row["class"] for row in rows], [row["n"] for row in rows], "labels")
