"""Probabilities that can be taken at their word: temperature scaling, and how far off they are.

Guo et al. 2017, "On Calibration of Modern Neural Networks". One temperature T divides all logits before the
softmax: T > 1 makes the model less sure, T < 1 surer; the ranking of the classes, hence the accuracy, stays.

With several labels an image the same before the sigmoid: ``targets`` are then (N, C) of 0 and 1, each label of each
image is a decision of its own, and what is fitted and measured is the probability that the label is there.
"""

from collections.abc import Callable
from math import exp, log, nan
from typing import Any

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
LEAST_IMAGES = 10


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, C) float32 of logits (N, C), computed in float64.

    A logit of -inf is a probability of 0; NaN, +inf or a row of -inf only give NaN.
    """
    from scipy.special import softmax as stable

    with np.errstate(invalid="ignore"):
        probs: np.ndarray = stable(logits.astype(np.float64) / temperature, axis=1)
    return probs.astype(np.float32)


def cross_entropy(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of -log p(target) in nats, from logits (N, C); infinite if a target's probability is 0."""
    from scipy.special import log_softmax

    log_probs = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-log_probs[np.arange(len(targets)), targets].mean())


def sigmoid(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """The probability of each label by itself, (N, C) float32, of logits (N, C), computed in float64."""
    from scipy.special import expit

    probs: np.ndarray = expit(logits.astype(np.float64) / temperature)
    return probs.astype(np.float32)


def binary_cross_entropies(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """-log of the probability of each decision in nats, (N, C), from logits and targets of 0 and 1."""
    against = logits.astype(np.float64) / temperature * np.where(targets > 0, -1.0, 1.0)
    return np.logaddexp(0.0, against)


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature, 0.05 to 20, that gives ``targets`` (N,) or (N, C) the highest likelihood under logits (N, C).

    Where there is nothing to fit, a safe value:

    - fewer than 10 images with finite logits, one class of which each image has one, or a likelihood that stays
      the same: 1.0;
    - every prediction right (with several labels: every decision at 0.5): the likelihood would rise without end as
      T falls, so T stops where the mean confidence is (n+1)/(n+2), Laplace's rule of succession: as sure as n
      images without a mistake allow. It never exceeds 1.0 then, for nothing says that the model is too sure.
    """
    from scipy.optimize import minimize_scalar

    usable = np.isfinite(logits).all(1)
    logits, targets = logits[usable], targets[usable]
    several = targets.ndim == 2
    if len(targets) < LEAST_IMAGES or logits.shape[1] < 2 - several:
        return 1.0
    faultless = bool((((logits > 0) == (targets > 0)) if several else (logits.argmax(1) == targets)).all())
    cost = _distance_to_succession(logits, several) if faultless else _likelihood_cost(logits, targets)
    bounds = (log(LOWEST), log(1.0 if faultless else HIGHEST))
    found = minimize_scalar(cost, bounds=bounds, method="bounded")
    return round(exp(found.x), 4) if found.fun < cost(0.0) - 1e-9 else 1.0


def reliability(probs: np.ndarray, targets: np.ndarray, bins: int = 15) -> list[dict[str, Any]]:
    """How often the model is right where it is that sure: a row for each bin of confidence that holds images.

    Rows: ``low`` < confidence <= ``high``, ``n`` images, their mean ``confidence`` and their ``accuracy``.

    With targets (N, C) every label of every image counts: ``confidence`` is the probability given to the label,
    ``accuracy`` how often it is there, so that 0.1 is as good as it says if the label is there once in ten times.
    """
    if targets.ndim == 2:
        confidence, right = probs.ravel().astype(np.float64), targets.ravel() > 0
    else:
        confidence, right = probs.max(1).astype(np.float64), probs.argmax(1) == targets
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "n": int((place == b).sum()),
            "confidence": float(confidence[place == b].mean()),
            "accuracy": float(right[place == b].mean()),
        }
        for b in np.unique(place).tolist()
    ]


def expected_calibration_error(probs: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, 0 to 1; NaN without images."""
    rows = reliability(probs, targets, bins)
    return sum(r["n"] * abs(r["accuracy"] - r["confidence"]) for r in rows) / targets.size if rows else nan


def _likelihood_cost(logits: np.ndarray, targets: np.ndarray) -> Callable[[float], float]:
    if targets.ndim == 2:
        return lambda log_temperature: float(binary_cross_entropies(logits, targets, exp(log_temperature)).mean())
    return lambda log_temperature: cross_entropy(logits, targets, exp(log_temperature))


def _distance_to_succession(logits: np.ndarray, several: bool) -> Callable[[float], float]:
    """How far the mean confidence is from (n+1)/(n+2) for n images: falls, then rises with the temperature."""
    allowed = (len(logits) + 1) / (len(logits) + 2)

    def confidence(temperature: float) -> np.ndarray:
        # The absolute logit is that of what was decided.
        sure: np.ndarray = sigmoid(abs(logits), temperature) if several else softmax(logits, temperature).max(1)
        return sure

    return lambda log_temperature: abs(float(confidence(exp(log_temperature)).mean()) - allowed)
