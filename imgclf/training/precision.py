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

    Args:
        in_validation: False: validate in fp32.
    """

    order = 10  # as MixedPrecision

    def __init__(self, device_type: str, in_validation: bool = True) -> None:
        self.device_type, self.in_validation = device_type, in_validation

    def before_batch(self) -> None:
        wanted = self.training or self.in_validation
        self.autocast = torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=wanted)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)


def autocast(hardware: Hardware) -> torch.autocast:
    """A context for forward passes without gradients, in the precision of training."""
    half = torch.float16 if hardware.precision == "fp16" else torch.bfloat16
    return torch.autocast(hardware.device.type, dtype=half, enabled=hardware.precision != "fp32")


def validates_as_the_bundle(hardware: Hardware, once: bool) -> bool:
    """Whether validation computes what the finished model is judged by, in one process, in fp32, on a processor.

    CUDA's fp32 may be TF32 in training, and several processes see a part of the images each.

    Args:
        once: Whether there is one validation in all: then it is in fp32 even where training is in bf16, and no other
            pass over the images is needed.
    """
    alone = hardware.device.type == "cpu" and ranks.world() == 1
    return alone and (hardware.precision == "fp32" or once)


def callbacks(hardware: Hardware, exact: bool = False) -> list[Any]:
    """The callbacks for a precision; none for fp32.

    Args:
        exact: As ``validates_as_the_bundle`` says.
    """
    if hardware.precision == "fp32":
        return []
    return [MixedPrecision() if hardware.precision == "fp16" else Autocast(hardware.device.type, not exact)]
