"""Mixed precision as a callback, on any device."""

from typing import Any

import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.vision.all import Callback, to_float

from imgclf import ranks
from imgclf.training.devices import Hardware


class Autocast(Callback):
    """bf16 forward passes, in training and validation, on any device; fastai's ``MixedPrecision`` is tied to CUDA.

    Weights stay fp32, and nothing has to be scaled: that is for fp16. Validation in fp32 would cost several times as
    much; the finished model is judged in fp32 anyway (``imgclf.shipping.inference``).
    """

    order = 10  # as MixedPrecision

    def __init__(self, device_type: str) -> None:
        self.device_type = device_type

    def before_batch(self) -> None:
        self.autocast = torch.autocast(self.device_type, dtype=torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)


def autocast(hardware: Hardware) -> torch.autocast:
    """A context for forward passes without gradients, in the precision of training."""
    half = torch.float16 if hardware.precision == "fp16" else torch.bfloat16
    return torch.autocast(hardware.device.type, dtype=half, enabled=hardware.precision != "fp32")


def as_the_bundle(hardware: Hardware) -> bool:
    """Whether validation computes what the finished model is judged by: one process, in fp32 on a processor.

    CUDA's fp32 may be TF32 in training, and several processes see a part of the images each.
    """
    return hardware.precision == "fp32" and hardware.device.type == "cpu" and ranks.world() == 1


def callbacks(hardware: Hardware) -> list[Any]:
    """The callbacks for a precision; none for fp32."""
    if hardware.precision == "fp32":
        return []
    return [MixedPrecision() if hardware.precision == "fp16" else Autocast(hardware.device.type)]
