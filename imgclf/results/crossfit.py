"""Honest figures on the validation images: temperature and thresholds fitted on one half, judged on the other.

Fitted and judged on the same images they look a little better than they are. Both halves change roles once, so that
every image is judged by what was fitted without it. The best epoch was still chosen on all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imgclf.errors import DataError
from imgclf.results import calibration, metrics, multilabel, thresholds
from imgclf.results.evaluate import Predictions
from imgclf.results.metrics import Interval

LEAST = 2 * calibration.LEAST_IMAGES
STILL = "The best epoch was still chosen on all of these images; only a test split or --data is free of that."


@dataclass(frozen=True)
class CrossFit:
    """Figures as reported, fitted and judged on all images, and cross-fitted.

    Attributes:
        halves: How many images each half has.
        temperatures: Fitted on the first half, and on the second.
        reported: Figures by name; an ``Interval`` where there is one.
        cross_fitted: The same figures from all images, each judged by the half it is not in.
    """

    halves: tuple[int, int]
    temperatures: tuple[float, float]
    reported: dict[str, Interval | float]
    cross_fitted: dict[str, Interval | float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; each figure is ``{"value", "low", "high", "n"}`` or a number."""
        return {
            "halves": list(self.halves), "temperatures": list(self.temperatures),
            "reported": _plain(self.reported), "cross_fitted": _plain(self.cross_fitted), "note": STILL,
        }  # fmt: skip


def cross_fit(raw: Predictions, seed: int = 0) -> CrossFit:
    """Fit on each half, judge on the other.

    Args:
        raw: With the temperature and thresholds in force, whose figures are the reported ones.

    Raises:
        DataError: if the halves would be too small for a temperature.
    """
    n = len(raw.targets)
    if n < LEAST:
        raise DataError(f"--cross-fit needs {LEAST} images, 10 to fit a temperature in each half; here are {n}")
    second = halves(raw.targets, seed)
    scaled = np.zeros(raw.logits.shape)
    given = np.zeros(raw.logits.shape, dtype=bool)
    temperatures = []
    for fit_on, judge_on in ((~second, second), (second, ~second)):
        temperature = calibration.fit_temperature(raw.logits[fit_on], raw.targets[fit_on])
        temperatures.append(temperature)
        scaled[judge_on] = raw.logits[judge_on].astype(np.float64) / temperature
        if raw.task == "multi":
            tuned = thresholds.tune(calibration.sigmoid(raw.logits[fit_on], temperature), raw.targets[fit_on])
            given[judge_on] = thresholds.decide(calibration.sigmoid(raw.logits[judge_on], temperature), tuned)
    reported = raw.logits.astype(np.float64) / (raw.temperature or 1.0)
    return CrossFit(
        (int((~second).sum()), int(second.sum())),
        (temperatures[0], temperatures[1]),
        _figures(replace(raw, logits=reported), thresholds.decide(raw.probs, raw.thresholds)),
        _figures(replace(raw, logits=scaled), given),
    )


def halves(targets: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which images are in the second half, (N,) bool: every second one, the images in order of their class.

    So no class differs by more than one image between the halves; with several labels an image that holds for the
    rarest label, and nearly for the others.

    Args:
        targets: (N,) class numbers, or (N, C) of 0 and 1.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    shuffled = targets[order]
    if targets.ndim == 2:
        rarest_last = np.argsort(-targets.sum(0), kind="stable")
        sorted_by_class = np.lexsort(shuffled[:, rarest_last].T)
    else:
        sorted_by_class = np.argsort(shuffled, kind="stable")
    second = np.zeros(len(targets), dtype=bool)
    second[order[sorted_by_class][1::2]] = True
    return second


def _figures(scaled: Predictions, given: np.ndarray) -> dict[str, Interval | float]:
    """What temperature and thresholds can change. The logits are already divided by the temperature."""
    at_one = replace(scaled, temperature=1.0)
    probs, targets = at_one.probs, at_one.targets
    ece = {"calibration_error": calibration.expected_calibration_error(probs, targets)}
    if scaled.task == "single":
        loss = float(metrics.losses(probs, targets).mean())
        return {"accuracy": metrics.accuracy(probs, targets), **ece, "calibrated_loss": loss}
    there = targets > 0
    macro_f1 = multilabel.macro_f1_interval(given, there)
    return {
        "accuracy": metrics.wilson(int((given == there).all(1).sum()), len(there)),
        "accuracy_multi": float((given == there).mean()),
        "macro_f1": macro_f1,
        "micro_f1": metrics.mean_f1(np.array([(given & there).sum()]), np.array([given.sum() + there.sum()])),
        **ece,
        "calibrated_loss": float(multilabel.losses(at_one.logits, targets).mean()),
    }


def _plain(figures: Mapping[str, Interval | float]) -> dict[str, Any]:
    return {name: f.to_dict() if isinstance(f, Interval) else f for name, f in figures.items()}
