"""Loss functions and the metrics shown each epoch, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastai.vision.all import (
    BalancedAccuracy,
    CohenKappa,
    CrossEntropyLossFlat,
    F1Score,
    FocalLossFlat,
    LabelSmoothingCrossEntropyFlat,
    MatthewsCorrCoef,
    Precision,
    Recall,
    accuracy,
    error_rate,
    top_k_accuracy,
)

from imgclf.errors import ConfigError, did_you_mean
from imgclf.schema import Config

LOSSES: dict[str, Callable[[], Any]] = {
    "auto": CrossEntropyLossFlat,
    "cross_entropy": CrossEntropyLossFlat,
    "label_smoothing": LabelSmoothingCrossEntropyFlat,
    "focal": FocalLossFlat,
}


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


def loss_func(cfg: Config) -> Any:
    """The configured loss."""
    return LOSSES[cfg.train.loss]()


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
