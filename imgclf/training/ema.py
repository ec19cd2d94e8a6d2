"""Averaged weights: an exponential moving average of the model, which is what is validated and kept."""

from fastai.vision.all import Callback, Learner
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imgclf.schema import Config


class Ema(Callback):
    """torch's ``AveragedModel``, moved after every training step; in its place while validating.

    BatchNorm's statistics are averaged likewise: those of the last steps belong to other weights. The first step's
    weights begin the average.

    Args:
        model: What is averaged; it keeps training as if nobody looked.
        decay: Share of the average that a step leaves: over about ``1 / (1 - decay)`` steps.
    """

    order = -20  # before TrainEvalCallback, which sets the mode of the model that is there

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.averaged.requires_grad_(False)

    def after_batch(self) -> None:
        if self.training:
            self.averaged.update_parameters(self.learn.model)

    def before_validate(self) -> None:
        self.trained, self.learn.model = self.learn.model, self.averaged.module

    def after_validate(self) -> None:
        self.learn.model = self.trained


def callbacks(cfg: Config, model: nn.Module) -> list[Ema]:
    """The callback the configuration asks for, or none."""
    decay = cfg.train.ema
    return [] if decay is None else [Ema(model, decay)]


def judged(learn: Learner) -> nn.Module:
    """The model that validation judges and the bundle keeps: the averaged one where there is one."""
    ema = getattr(learn, "ema", None)
    model: nn.Module = ema.averaged.module if ema else learn.model
    return model
