"""The metrics shown each epoch, by name, and the task each is for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import numpy as np
import sklearn.metrics as skm
from fastai.metrics import ActivationType
from fastai.vision.all import (
    BalancedAccuracy,
    CohenKappa,
    F1Score,
    HammingLossMulti,
    MatthewsCorrCoef,
    Precision,
    Recall,
    accuracy,
    accuracy_multi,
    error_rate,
    skm_to_fastai,
    top_k_accuracy,
)

from imgclf.data.samples import SAID, Task
from imgclf.errors import ConfigError, did_you_mean
from imgclf.schema import Config

SINGLE: tuple[Task, ...] = ("single",)
MULTI: tuple[Task, ...] = ("multi",)
BOTH: tuple[Task, ...] = ("single", "multi")


@dataclass(frozen=True)
class Score:
    """A metric: how to make fastai's for a task, the tasks it is for, and which direction is better."""

    make: Callable[[Task], Any]
    tasks: tuple[Task, ...] = SINGLE
    higher_is_better: bool = True


METRICS: dict[str, Score] = {
    "error_rate": Score(lambda _: error_rate, higher_is_better=False),
    "accuracy": Score(lambda _: accuracy),
    "top_5_accuracy": Score(lambda _: top_k_accuracy),
    "balanced_accuracy": Score(lambda _: BalancedAccuracy()),
    "f1_macro": Score(lambda task: _decided(f1_macro) if task == "multi" else F1Score(average="macro"), BOTH),
    "precision_macro": Score(lambda _: Precision(average="macro")),
    "recall_macro": Score(lambda _: Recall(average="macro")),
    "cohen_kappa": Score(lambda _: CohenKappa()),
    "matthews": Score(lambda _: MatthewsCorrCoef()),
    "accuracy_multi": Score(lambda _: accuracy_multi, MULTI),
    "average_precision": Score(lambda _: _ranked(mean_average_precision), MULTI),
    "f1_micro": Score(lambda _: _decided(partial(skm.f1_score, average="micro", zero_division=0)), MULTI),
    "hamming_loss": Score(lambda _: HammingLossMulti(), MULTI, higher_is_better=False),
}
AUTO: dict[Task, tuple[str, ...]] = {"single": ("error_rate",), "multi": ("average_precision", "accuracy_multi")}


def metric_names(cfg: Config, task: Task | None = None) -> tuple[str, ...]:
    """The names of the configured metrics.

    Args:
        task: None: not known yet; the names are then only checked for being known.

    Raises:
        ConfigError: for an unknown one, or one that is not for this task.
    """
    chosen = cfg.train.metrics
    names = AUTO[task or "single"] if chosen == "auto" else chosen
    fitting = [name for name, score in METRICS.items() if task is None or task in score.tasks]
    for name in names:
        if name not in METRICS:
            problem = f"train.metrics: there is no metric '{name}'.{did_you_mean(name, fitting)}"
            raise ConfigError(problem, f"there are: {', '.join(fitting)}")
        if task is not None and name not in fitting:
            problem = f"train.metrics: {name} is not for images with {SAID[task]}.{did_you_mean(name, fitting)}"
            raise ConfigError(problem, f"metrics that fit: {', '.join(fitting)}")
    return names


def metrics(cfg: Config, n_classes: int, task: Task = "single") -> dict[str, Score]:
    """The configured metrics, the first of which decides which epoch was the best.

    Raises:
        ConfigError: for an unknown name, or one that makes no sense for the task or so few classes.
    """
    names = metric_names(cfg, task)
    if "top_5_accuracy" in names and n_classes <= 5:
        raise ConfigError(f"train.metrics: top_5_accuracy needs more than 5 classes, the data has {n_classes}")
    return {name: METRICS[name] for name in names}


def mean_average_precision(targets: np.ndarray, probs: np.ndarray) -> float:
    """The mean average precision over the labels that occur; (N, C) 0/1 and probabilities.

    scikit-learn (and so fastai's ``APScoreMulti``) warns of a label that no image has and counts it as 0.
    """
    there = targets.any(axis=0)
    return float(skm.average_precision_score(targets[:, there], probs[:, there])) if there.any() else nan


def f1_macro(targets: np.ndarray, answers: np.ndarray) -> float:
    """The mean F1 over the labels that occur; (N, C) 0/1 both."""
    there = targets.any(axis=0)
    if not there.any():
        return nan
    return float(skm.f1_score(targets[:, there], answers[:, there], average="macro", zero_division=0))


def _decided(function: Callable[..., float]) -> Any:
    """A function of 0/1 targets and answers (N, C) as a metric; a label is given from a probability of 0.5 on."""
    return skm_to_fastai(function, thresh=0.5, flatten=False)


def _ranked(function: Callable[..., float]) -> Any:
    """A function of 0/1 targets and probabilities (N, C) as a metric."""
    return skm_to_fastai(function, is_class=False, activation=ActivationType.Sigmoid, flatten=False)
