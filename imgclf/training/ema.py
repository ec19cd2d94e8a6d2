"""Averaged weights: an exponential moving average of the model, or the mean, which is what is validated and kept."""

from typing import Literal

from fastai.vision.all import Callback, Learner
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imgclf.schema import Config

Tensors = list[Tensor] | tuple[Tensor, ...]


class Ema(Callback):
    """torch's ``AveragedModel``, moved after every training step; in its place while validating.

    BatchNorm's statistics are averaged likewise: those of the last steps belong to other weights. The first step's
    weights begin the average.

    Args:
        model: What is averaged; it keeps training as if nobody looked.
        decay: Share of the average that a step leaves: over about ``1 / (1 - decay)`` steps. ``mean``: every step
            counts the same (Polyak and Juditsky 1992; Izmailov et al. 2018, *Averaging Weights*).
    """

    order = -20  # before TrainEvalCallback, which sets the mode of the model that is there

    def __init__(self, model: nn.Module, decay: float | Literal["mean"]) -> None:
        average = _mean if decay == "mean" else get_ema_multi_avg_fn(decay)
        self.averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self.averaged.requires_grad_(False)

    def after_batch(self) -> None:
        if self.training:
            self.averaged.update_parameters(self.learn.model)

    @property
    def begun(self) -> bool:
        """Whether there has been a step: the probe, for one, has none."""
        return int(self.averaged.n_averaged) > 0

    def before_validate(self) -> None:
        self.trained = self.learn.model
        if self.begun:
            self.learn.model = self.averaged.module

    def after_validate(self) -> None:
        self.learn.model = self.trained


def _mean(averaged: Tensors, new: Tensors, n: Tensor | int) -> None:
    """Of ``n`` averaged before and one more; torch's own stumbles over BatchNorm's count of batches, an integer."""
    for mean, value in zip(averaged, new, strict=True):
        mean.lerp_(value, 1 / (n + 1)) if mean.is_floating_point() else mean.copy_(value)


def callbacks(cfg: Config, model: nn.Module, probe: bool) -> list[Ema]:
    """The callback the configuration asks for, or none; ``auto`` is the mean where the head begins at the ``probe``."""
    decay = cfg.train.ema
    if decay == "auto":
        decay = "mean" if probe else None
    return [] if decay is None else [Ema(model, decay)]


def judged(learn: Learner) -> nn.Module:
    """The model that validation judges and the bundle keeps: the averaged one where there is one."""
    ema = getattr(learn, "ema", None)
    model: nn.Module = ema.averaged.module if ema and ema.begun else learn.model
    return model
