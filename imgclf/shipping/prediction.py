"""From a network's numbers to an answer: calibrated probabilities, a class or several labels, a row to print."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.data.samples import Task
from imgclf.results.calibration import sigmoid, softmax
from imgclf.results.thresholds import decide

UNKNOWN = "unknown"  # the label of an answer that is withheld
LEAST_PROB = 1e-30  # the smallest probability a logarithm is taken of
MOST_PROB = 1 - 2**-26  # nearer to 1 than any other float32, yet with finite odds


@dataclass(frozen=True)
class Prediction:
    """The answer for one file: probabilities (C,) and logits (C,) float32, or why there is none.

    Attributes:
        label: The most probable class; None if an image may have several labels.
        prob: The highest probability.
        name: What to call it where it comes from no file, such as its address; None: its path.
        abstained: Whether the answer is withheld, ``label`` then being ``unknown``; None where nobody asked for it.
        features: What the body says, pooled (F,); None for a finished graph.
        distance: How far the image lies from those the model knows: above 1 it is unlike them; None where the model
            cannot tell.
        labels: If an image may have several labels: those that reach their threshold, the most probable first.
    """

    path: Path
    label: str | None = None
    prob: float | None = None
    probs: np.ndarray | None = None
    logits: np.ndarray | None = None
    error: str | None = None
    labels: tuple[str, ...] | None = None
    abstained: bool | None = None
    name: str | None = None
    features: np.ndarray | None = None
    distance: float | None = None

    @property
    def unlike(self) -> bool:
        """Whether the image is unlike those the model knows, as far as the model can tell."""
        return self.distance is not None and self.distance > 1

    def to_row(self, classes: tuple[str, ...], top_k: int | None = None) -> dict[str, Any]:
        """Plain values: ``{"path", "label", "prob", "probs": {class: p}}``, or ``{"path", "error"}``.

        The classes come with the most probable first. For several labels: ``{"path", "labels": […], "probs"}``. With
        ``unlike`` and ``distance`` where the model can tell.

        Args:
            top_k: How many classes to keep in ``probs``; None: all.
        """
        path = self.name or str(self.path)
        if self.probs is None:
            return {"path": path, "error": self.error}
        best = np.argsort(-self.probs, kind="stable")[:top_k]
        probs = {classes[i]: float(self.probs[i]) for i in best}
        known = {} if self.distance is None else {"unlike": self.unlike, "distance": self.distance}
        if self.labels is not None:
            return {"path": path, "labels": list(self.labels), "probs": probs, **known}
        row = {"path": path, "label": self.label, "prob": self.prob, "probs": probs, **known}
        return row if self.abstained is None else {**row, "abstained": self.abstained}

    def withheld_below(self, threshold: float) -> "Prediction":
        """The same, labelled ``unknown`` if its probability is below the threshold, or the image unlike those known.

        ``prob`` and ``probs`` stay.
        """
        if self.prob is None:
            return self
        withheld = self.prob < threshold or self.unlike
        return replace(self, label=UNKNOWN if withheld else self.label, abstained=withheld)


def answer(
    path: Path,
    probs: np.ndarray,
    logits: np.ndarray,
    classes: tuple[str, ...],
    thresholds: tuple[float, ...] | None,
) -> Prediction:
    """The answer for one image.

    Args:
        thresholds: (C,), the least probability that counts, for several labels; None: one label.
    """
    highest = float(probs.max())
    if thresholds is None:
        return Prediction(path, classes[int(probs.argmax())], highest, probs, logits)
    given = decide(probs[None], thresholds)[0]
    labels = tuple(classes[i] for i in np.argsort(-probs, kind="stable") if given[i])
    return Prediction(path, None, highest, probs, logits, labels=labels)


def calibrated(logits: np.ndarray, temperature: float | None, task: Task) -> np.ndarray:
    """Logits (N, C) to probabilities (N, C) float32: softmax over the classes, for several labels sigmoid of each.

    Args:
        temperature: What divides the logits; None: nothing.
    """
    # To the last bit that which figures are made of and thresholds are tuned on.
    return (sigmoid if task == "multi" else softmax)(logits, temperature or 1.0)


def logits_of(probs: np.ndarray, task: Task) -> np.ndarray:
    """Logits (N, C) float32 that give these probabilities back: their logarithm, for several labels their log-odds."""
    if task == "multi":
        from scipy.special import logit

        return np.asarray(logit(np.clip(probs.astype(np.float64), LEAST_PROB, MOST_PROB)), np.float32)
    return np.asarray(np.log(np.clip(probs, LEAST_PROB, 1)), np.float32)
