"""Loss functions by name, and the task each is for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
)

from imgclf.data.samples import SAID, Task
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
LOSSES: dict[Task, dict[str, Callable[[Knobs, Weights], Any]]] = {"single": SINGLE_LABEL, "multi": MULTI_LABEL}


def loss_func(
    cfg: Config, classes: Sequence[str], task: Task = "single", balanced: Mapping[str, float] | None = None
) -> Any:
    """The configured loss; ``auto`` is the first one of the task.

    Args:
        classes: Their names, in the order of the activations.
        task: ``single`` or ``multi``: how many labels an image has.
        balanced: Weights of `data.balance`; those that are given win.

    Raises:
        ConfigError: for a loss that is not for this task, or weights of classes that do not exist.
    """
    table, wanted = LOSSES[task], cfg.train.loss
    name = next(iter(table)) if wanted == "auto" else str(wanted)
    if name not in table:
        raise ConfigError(
            f"train.loss: '{name}' is not for images with {SAID[task]}", f"for this data: auto, {', '.join(table)}"
        )
    weights = class_weights({**(balanced or {}), **(cfg.train.class_weights or {})}, classes)
    return table[name](Knobs(cfg.train.smoothing_eps, cfg.train.focal_gamma), weights)


def class_weights(named: Mapping[str, float], classes: Sequence[str]) -> Weights:
    """Weights (C,) in the order of ``classes``, 1 for one that is not named; None if none is named."""
    known = set(classes)  # there may be thousands
    for name in named:
        if name not in known:
            raise ConfigError(
                f"train.class_weights: there is no class '{name}'.{did_you_mean(name, classes)}",
                f"the data has: {', '.join(classes[:20])}",
            )
    return torch.tensor([float(named.get(name, 1.0)) for name in classes]) if named else None
