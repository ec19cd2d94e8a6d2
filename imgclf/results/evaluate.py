"""What a model's predictions are worth: one call from predictions to every figure of a report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from imgclf.console import some
from imgclf.errors import DataError, ModelError, UserError
from imgclf.results import calibration, metrics, multilabel
from imgclf.results.abstention import Abstention
from imgclf.results.metrics import Interval

MOST_CONFUSION = 1000  # classes
# In the JSON where there are more than five classes, or where they were asked for.
IF_THERE = frozenset(
    ["top5_accuracy", "top_k_accuracy", "abstention", "cross_fit", "unlike", "baselines", "learning_curve"]
)


@dataclass(frozen=True)
class Predictions:
    """A model's answers for labelled images.

    Args:
        paths: The N images.
        logits: (N, C) float32, before the temperature.
        targets: (N,) int64, the true class numbers; with several labels an image (N, C) of 0 and 1.
        classes: The C names.
        temperature: Divides the logits. None: the artefact gives calibrated probabilities only, and
            ``logits`` are their logarithms (with several labels an image their log-odds); what it was before
            calibration is then unknown.
        task: ``multi`` with several labels an image.
        thresholds: With several labels: the probability from which on each label is given; None: 0.5 each.
        features: (N, F) what the body says, pooled, where it was asked for.
        distances: (N,) how far each image lies from those the model knows: above 1 it is unlike them; None where the
            model cannot tell.
    """

    paths: tuple[str, ...]
    logits: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...]
    temperature: float | None
    task: Literal["single", "multi"] = "single"
    thresholds: tuple[float, ...] | None = None
    features: np.ndarray | None = None
    distances: np.ndarray | None = None

    @property
    def probs(self) -> np.ndarray:
        """Calibrated probabilities (N, C) float32; with several labels an image each label has its own."""
        to_probs = calibration.sigmoid if self.task == "multi" else calibration.softmax
        return to_probs(self.logits, 1.0 if self.temperature is None else self.temperature)


@dataclass(frozen=True)
class Evaluation:
    """Every figure about one set of predictions; ``to_dict`` is the JSON of `imgclf evaluate`.

    ``ece_*`` are expected calibration errors (0 to 1) before and after the temperature. ``valid_loss`` is the
    mean cross-entropy in nats of the plain logits, as in training; ``loss`` and ``prob`` of ``top_losses``
    are calibrated. Accuracies are the same either way: a temperature changes no ranking.
    ``confusion`` is None with more than ``MOST_CONFUSION`` classes: it grows with their square.
    ``unlike`` is what ``results.unlike.summary`` says; ``baselines`` and ``learning_curve`` are of a run's validation
    images.
    """

    n: int
    accuracy: Interval
    error_rate: float
    top5_accuracy: Interval | None
    macro_f1: float
    macro_f1_interval: Interval
    valid_loss: float
    majority_baseline: Interval
    ece_before: float | None
    ece_after: float
    classes: tuple[str, ...]
    per_class: list[dict[str, Any]]
    confusion: list[list[int]] | None
    most_confused: list[dict[str, Any]]
    top_losses: list[dict[str, Any]]
    warnings: list[str]
    top_k_accuracy: tuple[int, Interval] | None = None
    abstention: Abstention | None = None
    cross_fit: Any = None
    unlike: dict[str, Any] | None = None
    baselines: dict[str, Any] | None = None
    learning_curve: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; those ``IF_THERE`` only where there is something to say."""
        data = {**asdict(self), "classes": list(self.classes)}
        asked = {"abstention": self.abstention, "cross_fit": self.cross_fit}
        data |= {key: None if value is None else value.to_dict() for key, value in asked.items()}
        if self.top_k_accuracy is not None:
            data["top_k_accuracy"] = {"k": self.top_k_accuracy[0], **asdict(self.top_k_accuracy[1])}
        return {key: value for key, value in data.items() if key not in IF_THERE or value is not None}


def evaluate(predictions: Predictions, top_losses: int = 20) -> "Evaluation | multilabel.MultiEvaluation":
    """Judge the predictions: an ``Evaluation``, with several labels an image a ``MultiEvaluation``.

    Args:
        top_losses: How many of the images with the highest loss to list.

    Raises:
        DataError: if there are no images.
        ModelError: if the model gave something that is not a number.
    """
    _check(predictions)
    if predictions.task == "multi":
        return multilabel.evaluate(predictions, top_losses)
    return _single(predictions, top_losses)


def _single(predictions: Predictions, top_losses: int) -> Evaluation:
    probs, targets, classes = predictions.probs, predictions.targets, predictions.classes
    accuracy = metrics.accuracy(probs, targets)
    macro_f1 = metrics.macro_f1_interval(probs, targets)
    every = range(len(classes))
    support = np.bincount(targets, minlength=len(classes))
    majority = metrics.wilson(int(support.max()), len(targets))
    return Evaluation(
        n=len(targets),
        accuracy=accuracy,
        error_rate=1 - accuracy.value,
        top5_accuracy=metrics.top_k_accuracy(probs, targets) if len(classes) > 5 else None,
        macro_f1=macro_f1.value,
        macro_f1_interval=macro_f1,
        valid_loss=float(metrics.losses(calibration.softmax(predictions.logits), targets).mean()),
        majority_baseline=majority,
        ece_before=_ece_before(predictions),
        ece_after=calibration.expected_calibration_error(probs, targets),
        classes=classes,
        per_class=metrics.per_class(probs, targets, classes),
        confusion=metrics.confusion(probs, targets, every) if len(classes) <= MOST_CONFUSION else None,
        most_confused=metrics.most_confused(probs, targets, classes),
        top_losses=_top_losses(predictions, probs, top_losses),
        warnings=_warnings(accuracy, majority, support, classes),
    )


def top_k(predictions: Predictions, k: int) -> tuple[int, Interval]:
    """How often the right class is among the ``k`` most probable ones; raises as ``check_top_k`` does."""
    check_top_k(k, len(predictions.classes), predictions.task)
    return k, metrics.top_k_accuracy(predictions.probs, predictions.targets, k)


def check_top_k(k: int, n_classes: int, task: str) -> None:
    """Refuse a top-k accuracy that says nothing.

    Raises:
        UserError: for several labels an image, or a ``k`` that every answer meets.
    """
    if task == "multi":
        raise UserError("--top-k: with several labels an image no single class is the right one", "see mAP and F1")
    if not 1 <= k < n_classes:
        raise UserError(f"--top-k {k}: with {n_classes} classes it says something from 1 to {n_classes - 1}")


def _check(predictions: Predictions) -> None:
    if len(predictions.targets) == 0:
        raise DataError("there are no labelled images to evaluate on", "give some with --data FOLDER_OR_CSV")
    broken = np.flatnonzero(np.isnan(predictions.probs).any(1))
    if len(broken):
        raise ModelError(
            f"the model's answer is not a number for {len(broken)} of {len(predictions.targets)} images, "
            f"the first is {predictions.paths[broken[0]]}",
            "training has diverged: use a lower --lr, or --set train.precision=fp32",
        )


def _ece_before(predictions: Predictions) -> float | None:
    if predictions.temperature is None:
        return None
    return calibration.expected_calibration_error(calibration.softmax(predictions.logits), predictions.targets)


def _top_losses(predictions: Predictions, probs: np.ndarray, most: int) -> list[dict[str, Any]]:
    """The images the model got most wrong, or was least sure of: highest loss first."""
    loss = metrics.losses(probs, predictions.targets)
    classes = predictions.classes
    return [
        {
            "path": predictions.paths[i],
            "label": classes[predictions.targets[i]],
            "pred": classes[probs[i].argmax()],
            "loss": float(loss[i]),
            "prob": float(probs[i].max()),
        }
        for i in np.argsort(-loss, kind="stable")[:most].tolist()
    ]


def _warnings(accuracy: Interval, majority: Interval, support: np.ndarray, classes: Sequence[str]) -> list[str]:
    """What a reader must know before trusting the figures."""
    found = []
    always = f"always answering '{classes[int(support.argmax())]}' ({majority.value:.3f})"
    if accuracy.value <= majority.value:
        found.append(f"no better than {always}")
    elif accuracy.low <= majority.value:
        found.append(f"not clearly better than {always}: that is within the interval")
    if accuracy.n < metrics.FEW_IMAGES:
        found.append(f"only {accuracy.n} images: the accuracy may lie anywhere in its interval")
    missing = [name for name, n in zip(classes, support, strict=True) if n == 0]
    if missing:
        found.append(f"{len(missing)} of {len(classes)} classes have no image here and are not judged: {some(missing)}")
    return found + metrics.few_images(classes, support.tolist(), "classes")
