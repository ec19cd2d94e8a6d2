"""From activations to a loss, one image at a time: logits, softmax, log-likelihood, and the part of each class.

``loss`` and ``prob`` are calibrated, as in an evaluation; what training saw, before the temperature, stands beside
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from imgclf.results import calibration, metrics, multilabel, thresholds


@dataclass(frozen=True)
class Explanation:
    """One image and what a model makes of it; ``to_dict`` is its JSON in `imgclf explain`.

    Attributes:
        labels: The true ones; None: nobody says what it is, and there is no loss.
        label_from: Where they come from.
        preds: The answer: one class, with several labels an image any number.
        prob: The highest calibrated probability.
        loss: Of the labels, in nats: cross-entropy, with several labels the mean binary one.
        plain_prob: And ``plain_loss``: the same at temperature 1, as in training.
        rows: One for each class, the most probable first; see ``explain``.
        heatmaps: The classes whose maps the picture shows.
    """

    path: str
    labels: tuple[str, ...] | None
    label_from: str | None
    preds: tuple[str, ...]
    prob: float
    loss: float | None
    plain_prob: float
    plain_loss: float | None
    temperature: float
    task: Literal["single", "multi"]
    rows: list[dict[str, Any]]
    heatmaps: tuple[str, ...] = ()
    picture: str | None = None

    @property
    def right(self) -> bool | None:
        """Whether the answer is the label; None without one."""
        return None if self.labels is None else set(self.labels) == set(self.preds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``label`` and ``pred`` as text, with several labels ``labels`` and ``preds`` as lists too."""
        several = {"labels": self.labels and list(self.labels), "preds": list(self.preds)}
        plain = {"prob": self.plain_prob, "loss": self.plain_loss}
        if self.task == "single":
            plain["log_likelihood"] = None if self.plain_loss is None else -self.plain_loss
        return {
            "path": self.path, "label": None if self.labels is None else ", ".join(self.labels),
            "label_from": self.label_from, "pred": ", ".join(self.preds), **(several if self.task == "multi" else {}),
            "prob": self.prob, "loss": self.loss, "temperature": self.temperature, "uncalibrated": plain,
            "classes": self.rows, "heatmaps": list(self.heatmaps), "picture": self.picture,
        }  # fmt: skip


def explain(
    path: str,
    logits: np.ndarray,
    classes: Sequence[str],
    temperature: float,
    labels: tuple[str, ...] | None,
    label_from: str | None,
    cutoffs: tuple[float, ...] | None = None,
) -> Explanation:
    """Take one image's answer apart.

    Each class has ``logit``, ``log_likelihood`` and ``calibrated``, its probability after the temperature. For one
    label an image also ``exp``, ``softmax`` (its share in the sum of all ``exp``) and ``gradient``, that of the loss by
    this logit: softmax, less 1 for the label. For several labels ``sigmoid``, ``loss`` (the decision's binary
    cross-entropy), ``gradient``, ``there`` (whether it is a label), ``threshold`` and ``given``.

    Args:
        logits: (C,) float32.
        labels: Names among ``classes``; None: unknown.
        cutoffs: The thresholds, for several labels an image; None: one label.
    """
    row = logits[None].astype(np.float64)
    there = None if labels is None else np.array([[name in labels for name in classes]])
    if cutoffs is None:
        to_probs, rows = calibration.softmax, _classes(row, classes, temperature, there)
    else:
        to_probs, rows = calibration.sigmoid, _labels(row, classes, temperature, there, cutoffs)
    probs, plain = to_probs(row, temperature), to_probs(row)
    given = np.eye(len(classes), dtype=bool)[probs[0].argmax()] if cutoffs is None else _given(probs, cutoffs)
    order = np.argsort(-probs[0], kind="stable").tolist()  # as in a prediction, where rounding can make equals
    return Explanation(
        path, labels, label_from, tuple(classes[i] for i in order if given[i]), float(probs.max()),
        _loss(row, probs, temperature, there, cutoffs is None), float(plain.max()),
        _loss(row, plain, 1.0, there, cutoffs is None), temperature, "single" if cutoffs is None else "multi",
        [rows[i] for i in order],
    )  # fmt: skip


def _given(probs: np.ndarray, cutoffs: tuple[float, ...]) -> np.ndarray:
    decided: np.ndarray = thresholds.decide(probs, cutoffs)[0]
    return decided


def _loss(
    logits: np.ndarray, probs: np.ndarray, temperature: float, there: np.ndarray | None, single: bool
) -> float | None:
    """As an evaluation has it."""
    if there is None:
        return None
    if single:
        return float(metrics.losses(probs, there.argmax(1))[0])
    return float(multilabel.losses(logits, there.astype(np.int64), temperature)[0])


def _classes(
    logits: np.ndarray, classes: Sequence[str], temperature: float, there: np.ndarray | None
) -> list[dict[str, Any]]:
    from scipy.special import log_softmax

    logs = log_softmax(logits, axis=1)[0]
    gradient = None if there is None else np.exp(logs) - there[0]
    calibrated = calibration.softmax(logits, temperature)[0]
    with np.errstate(over="ignore"):
        exps = np.exp(logits[0])
    return [
        {
            "class": name, "logit": float(logits[0, i]), "exp": float(exps[i]), "softmax": float(np.exp(logs[i])),
            "log_likelihood": float(logs[i]), "gradient": None if gradient is None else float(gradient[i]),
            "calibrated": float(calibrated[i]),
        }
        for i, name in enumerate(classes)
    ]  # fmt: skip


def _labels(
    logits: np.ndarray,
    classes: Sequence[str],
    temperature: float,
    there: np.ndarray | None,
    cutoffs: tuple[float, ...],
) -> list[dict[str, Any]]:
    plain, calibrated = (calibration.sigmoid(logits, t) for t in (1.0, temperature))
    losses = None if there is None else calibration.binary_cross_entropies(logits, there.astype(np.int64))[0]
    given = _given(calibrated, cutoffs)
    return [
        {
            "class": name, "logit": float(logits[0, i]), "sigmoid": float(plain[0, i]),
            "log_likelihood": float(-np.logaddexp(0.0, -logits[0, i])),
            "there": None if there is None else bool(there[0, i]),
            "loss": None if losses is None else float(losses[i]),
            "gradient": None if there is None else float((plain[0, i] - there[0, i]) / len(classes)),
            "calibrated": float(calibrated[0, i]), "threshold": float(cutoffs[i]), "given": bool(given[i]),
        }
        for i, name in enumerate(classes)
    ]  # fmt: skip
