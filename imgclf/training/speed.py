"""How the network is computed: memory format, compilation, deterministic kernels. None of it changes the model."""

import os
from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import Learner
from torch import nn

from imgclf.errors import UserError, first_line
from imgclf.networks import folding
from imgclf.schema import Config
from imgclf.training.devices import Hardware

FP32_PIXELS = 128  # from here on channels_last pays in fp32 too, on a processor


def apply(cfg: Config, learn: Learner, hardware: Hardware, size: int) -> list[str]:
    """Set up a learner as ``train.channels_last``, ``compile`` and ``deterministic`` say; returns notes for the user.

    Args:
        size: Of the images, pixels.

    Raises:
        UserError: if torch cannot do what is asked on this machine.
    """
    notes = []
    if channels_last(cfg, hardware, size):
        learn.add_cb(ChannelsLast())
        notes.append("memory format: channels_last (train.channels_last)")
    if cfg.train.deterministic:
        be_deterministic(learn.model, hardware.device)
        notes.append("deterministic kernels alone (train.deterministic)")
    if cfg.train.compile:
        check_compiler(hardware.device)
        learn.model.compile()  # in place: the names of its weights stay as they are
        notes.append("torch.compile: the first batches take longer (train.compile)")
    elif hardware.device.type == "cpu":  # a compiler sees to that by itself
        folding.fold_while_fixed(learn.model[0])
    return notes


def channels_last(cfg: Config, hardware: Hardware, size: int) -> bool:
    """Whether that is the memory format; ``auto``: where it was measured to be faster, see docs/training.md."""
    wanted = cfg.train.channels_last
    if wanted == "auto":
        return channels_last_is_faster(hardware.device, hardware.precision, size)
    return bool(wanted)


def channels_last_is_faster(device: torch.device, precision: str, size: int) -> bool:
    """What ``train.channels_last: auto`` is; on CUDA the format of the matrix units, which 16 bits alone have."""
    if device.type == "cuda":
        return precision != "fp32"
    return device.type == "cpu" and (precision == "bf16" or size >= FP32_PIXELS)


def be_deterministic(model: nn.Module, device: torch.device) -> None:
    """Let torch use only kernels that give the same bits every time, in this process from now on.

    Raises:
        UserError: on CUDA for a head with max pooling: torch has no such kernel for its gradient
            (https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html).
    """
    pools = (nn.AdaptiveMaxPool2d, nn.FractionalMaxPool2d)
    if device.type == "cuda" and any(isinstance(module, pools) for module in model.modules()):
        raise UserError(
            "train.deterministic: torch has no deterministic gradient of adaptive max pooling on CUDA, "
            "and this model's head has it",
            "add --set model.concat_pool=false, or use --device cpu",
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def check_compiler(device: torch.device) -> None:
    """Compile and run something small.

    Raises:
        UserError: if that fails, as without a C++ compiler or, on CUDA, without Triton.
    """
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except (RuntimeError, ImportError, OSError) as e:  # RuntimeError is the base of Dynamo's and Inductor's errors
        raise UserError(
            f"train.compile: torch.compile does not work on {device} here: {first_line(e)}",
            "install a C++ compiler (on CUDA also Triton), or leave out train.compile",
        ) from e


def _probe(x: Any) -> Any:
    return (x * 2 + 1).relu().sum()
