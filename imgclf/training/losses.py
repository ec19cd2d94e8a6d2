"""Loss functions and the metrics shown each epoch, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fastai.vision.all import (
    BalancedAccuracy,
    BCEWithLogitsLossFlat,
    CohenKappa,
    CrossEntropyLossFlat,
    F1Score,
    MatthewsCorrCoef,
    Precision,
    Recall,
    accuracy,
    error_rate,
    top_k_accuracy,
)

from imgclf.errors import ConfigError, did_you_mean
from imgclf.schema import Config
from imgclf.training import loss_functions as own
from imgclf.training.loss_functions import AnyOfClasses, OneOfClasses

Weights = torch.Tensor | None


@dataclass(frozen=True)
class Knobs:
    """What some losses can be told."""

    eps: float
    gamma: float


# For one label an image. label_smoothing is torch's: fastai's class weights one of its two terms and not the other.
SINGLE_LABEL: dict[str, Callable[[Knobs, Weights], Any]] = {
    "cross_entropy": lambda _, weight: CrossEntropyLossFlat(weight=weight),
    "label_smoothing": lambda knobs, weight: CrossEntropyLossFlat(weight=weight, label_smoothing=knobs.eps),
    "focal": lambda knobs, weight: OneOfClasses(partial(own.focal, gamma=knobs.gamma), weight),
    "bce": lambda _, weight: OneOfClasses(own.one_against_rest, weight),
    "mse": lambda _, weight: OneOfClasses(own.squared_error, weight),
    "mae": lambda _, weight: OneOfClasses(own.absolute_error, weight),
}
# For any number of labels an image.
MULTI_LABEL: dict[str, Callable[[Knobs, Weights], Any]] = {
    "bce": lambda _, weight: BCEWithLogitsLossFlat(pos_weight=weight),
    "focal": lambda knobs, weight: AnyOfClasses(knobs.gamma, weight),
}
LOSSES = {"single": SINGLE_LABEL, "multi": MULTI_LABEL}


@dataclass(frozen=True)
class Score:
    """A metric: how to make fastai's, and which direction is better."""

    make: Callable[[], Any]
    higher_is_better: bool = True


METRICS: dict[str, Score] = {
    "error_rate": Score(lambda: error_rate, higher_is_better=False),
    "accuracy": Score(lambda: accuracy),
    "top_5_accuracy": Score(lambda: top_k_accuracy),
    "balanced_accuracy": Score(BalancedAccuracy),
    "f1_macro": Score(lambda: F1Score(average="macro")),
    "precision_macro": Score(lambda: Precision(average="macro")),
    "recall_macro": Score(lambda: Recall(average="macro")),
    "cohen_kappa": Score(CohenKappa),
    "matthews": Score(MatthewsCorrCoef),
}


def loss_func(cfg: Config, classes: Sequence[str], task: str = "single") -> Any:
    """The configured loss; ``auto`` is the first one of the task.

    Args:
        classes: Their names, in the order of the activations.
        task: ``single`` or ``multi``: how many labels an image has.

    Raises:
        ConfigError: for a loss that is not for this task, or weights of classes that do not exist.
    """
    table, wanted = LOSSES[task], cfg.train.loss
    name = next(iter(table)) if wanted == "auto" else str(wanted)
    if name not in table:
        several = "one label" if task == "single" else "several labels"
        raise ConfigError(
            f"train.loss: '{name}' is not for images with {several}", f"for this data: auto, {', '.join(table)}"
        )
    weights = class_weights(cfg.train.class_weights or {}, classes)
    return table[name](Knobs(cfg.train.smoothing_eps, cfg.train.focal_gamma), weights)


def class_weights(named: Mapping[str, float], classes: Sequence[str]) -> Weights:
    """Weights (C,) in the order of ``classes``, 1 for one that is not named; None if none is named."""
    for name in named:
        if name not in classes:
            raise ConfigError(
                f"train.class_weights: there is no class '{name}'.{did_you_mean(name, classes)}",
                f"the data has: {', '.join(classes[:20])}",
            )
    return torch.tensor([float(named.get(name, 1.0)) for name in classes]) if named else None


def metric_names(cfg: Config) -> tuple[str, ...]:
    """The names of the configured metrics; raises ConfigError for an unknown one."""
    names = cfg.train.metrics
    for name in names:
        if name not in METRICS:
            raise ConfigError(
                f"train.metrics: there is no metric '{name}'.{did_you_mean(name, METRICS)}",
                f"there are: {', '.join(METRICS)}",
            )
    return names


def metrics(cfg: Config, n_classes: int) -> dict[str, Score]:
    """The configured metrics, the first of which decides which epoch was the best.

    Raises:
        ConfigError: for an unknown name, or one that makes no sense for so few classes.
    """
    names = metric_names(cfg)
    if "top_5_accuracy" in names and n_classes <= 5:
        raise ConfigError(f"train.metrics: top_5_accuracy needs more than 5 classes, the data has {n_classes}")
    return {name: METRICS[name] for name in names}
