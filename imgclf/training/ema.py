"""Averaged weights: an exponential moving average of the model, or the mean, which is what is validated and kept."""

from collections.abc import Iterator
from itertools import chain
from typing import Literal, TypeAlias

import torch
from fastai.vision.all import Callback, Learner
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imgclf.schema import Config

Decay: TypeAlias = float | Literal["mean", "late"]
# How much more later steps count: the weight of step n grows as n to this power.
POWER = {"mean": 0, "late": 3}


class Ema(Callback):
    """torch's ``AveragedModel``, moved after every training step; in its place while validating.

    BatchNorm's statistics are averaged likewise: those of the last steps belong to other weights. The first step's
    weights begin the average.

    Args:
        model: What is averaged; it keeps training as if nobody looked.
        decay: Share of the average that a step leaves: over about ``1 / (1 - decay)`` steps. ``mean``: every step
            counts the same (Polyak and Juditsky 1992; Izmailov et al. 2018, *Averaging Weights*). ``late``: as the cube
            of its number, so that the last quarter is two thirds of it (Shamir and Zhang 2013, polynomial decay).
    """

    order = -20  # before TrainEvalCallback, which sets the mode of the model that is there

    def __init__(self, model: nn.Module, decay: Decay) -> None:
        self.averaged = Averaged(model, decay)
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


class Averaged(AveragedModel):
    """torch's, of weights and buffers; its own way to go on has a GPU waited for twice a step, for the count.

    And its mean stumbles over BatchNorm's count of batches, an integer: of integers the last one is kept.
    """

    def __init__(self, model: nn.Module, decay: Decay) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        n = int(self.n_averaged)  # which stays on the processor
        pairs = list(zip(_numbers(self.module), _numbers(model), strict=True))
        floats = [pair for pair in pairs if n and pair[0].is_floating_point()]
        for mean, value in pairs:
            if not (n and mean.is_floating_point()):
                mean.copy_(value)
        if floats:
            stays = self.decay if isinstance(self.decay, float) else n / (n + 1 + POWER[self.decay])
            get_ema_multi_avg_fn(stays)(*map(list, zip(*floats, strict=True)), n)
        self.n_averaged += 1


def _numbers(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def chosen(cfg: Config, probe: bool, familiar: bool) -> tuple[Decay | None, list[str]]:
    """The average that is validated and kept, None: the last weights are; and what to tell of a choice.

    Args:
        probe: The head begins at the probe.
        familiar: The body's last layers suit the images: it ends near where it began, and the first steps' weights are
            as good as the last ones'.
    """
    wanted = cfg.train.ema
    if wanted != "auto":
        return wanted, []
    if not probe:
        return None, []
    how = "" if familiar else ", in which later ones count more"
    return "mean" if familiar else "late", [f"weights: the mean of all steps is kept{how} (train.ema: auto)"]


def callbacks(wanted: Decay | None, model: nn.Module) -> list[Ema]:
    """The callback that keeps such an average."""
    return [] if wanted is None else [Ema(model, wanted)]


def judged(learn: Learner) -> nn.Module:
    """The model that validation judges and the bundle keeps: the averaged one where there is one."""
    ema = getattr(learn, "ema", None)
    model: nn.Module = ema.averaged.module if ema and ema.begun else learn.model
    return model
