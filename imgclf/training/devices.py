"""Where and in which precision to compute."""

from dataclasses import dataclass, replace
from typing import Any

from imgclf import memory, ranks
from imgclf.cores import cores
from imgclf.errors import UserError
from imgclf.schema import Config
from imgclf.training import quicker

AUTO = "auto"
CHOSEN = "train.precision"  # the reason of a precision the user named
BEGUN = "as the run began"
BF16_PIXELS = 32


@dataclass(frozen=True)
class Hardware:
    """A torch device and the precision of the forward pass; ``AUTO`` until ``settled``."""

    device: Any
    precision: str
    reason: str


def resolve(cfg: Config) -> Hardware:
    """The device and precision the configuration asks for, or the best device here.

    Raises:
        UserError: if the device is not here or cannot compute in that precision.
    """
    import torch

    device = torch.device(_device(_wanted_device(cfg)))
    if device.type == "cpu":
        memory.keep_freed()
    wanted = cfg.train.precision
    if wanted == AUTO:
        return Hardware(device, AUTO, "")
    if wanted == "fp16" and device.type != "cuda":
        raise UserError(f"train.precision: fp16 needs a CUDA device, this is {device}", "use bf16 or fp32")
    return Hardware(device, wanted, CHOSEN)


def _wanted_device(cfg: Config) -> str:
    return cfg.train.device


def settled(hardware: Hardware, size: int, before: str | None = None) -> Hardware:
    """The same, with the best precision for images of ``size`` pixels where it is to be found.

    The backward pass of torch's bf16 convolution (seen in 2.15 on AVX512-BF16) leaves parts of a gradient unset where a
    3 x 3 kernel with a stride of 2 meets a 1 x 1 map, as in a ResNet's last stage at 16 pixels: NaN weights.

    Args:
        before: The precision in which this run began on such a device, if it did: it goes on in that.
    """
    if hardware.precision != AUTO:
        return hardware
    if before:
        return replace(hardware, precision=before, reason=BEGUN)
    if hardware.device.type == "cpu" and size < BF16_PIXELS:
        return replace(hardware, precision="fp32", reason=f"torch's bf16 is not safe below {BF16_PIXELS} pixels here")
    precision, reason = quicker.best(hardware.device)
    return replace(hardware, precision=precision, reason=reason)


def _device(wanted: str) -> str:
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if ranks.world() > 1 and wanted != "cpu":
        return _one_of_several(wanted, torch.cuda.device_count() if here["cuda"] else 0)
    if wanted == "auto":
        return next(name for name, there in here.items() if there)
    kind, colon, index = wanted.partition(":")
    if kind not in here or (colon and not index.isdecimal()):
        raise UserError(f"train.device: '{wanted}' is no device", "use auto, cpu, cuda, cuda:N or mps")
    if not here[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        there = [name for name, yes in here.items() if yes]
        raise UserError(f"train.device: {wanted} is not available here", f"available: {', '.join(there)}")
    return wanted


def _one_of_several(wanted: str, n_cuda: int) -> str:
    """The device of this process, one of several that train together: a GPU each, or the processor."""
    check_several(wanted)
    if wanted == "auto" and not n_cuda:
        return "cpu"
    if ranks.local_rank() >= n_cuda:
        raise UserError(
            f"process {ranks.local_rank()} of this machine has no GPU: there are {n_cuda}",
            "start a process a GPU, or train on the processor: --device cpu",
        )
    return f"cuda:{ranks.local_rank()}"


def check_several(wanted: str) -> None:
    """Refuse a ``train.device`` that several processes cannot share."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"train.device: {wanted} is one device, or cannot work with others; several are to train together",
            "use --device cuda (CUDA_VISIBLE_DEVICES=0,2 chooses among them) or --device cpu",
        )


def processes(cfg: Config) -> int:
    """How many processes are to train together on this machine.

    Raises:
        UserError: if there are not so many devices.
    """
    wanted = cfg.train.devices
    if wanted == 1:
        return 1
    import torch

    device = _wanted_device(cfg)
    check_several(device)
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" or (device == "auto" and n_cuda):
        n, what = n_cuda, "CUDA devices"
    else:
        n, what = cores(), "processor cores, and no CUDA device" if device == "auto" else "processor cores"
    if wanted > n:
        raise UserError(
            f"train.devices: {wanted}, but this machine has {n} {what}",
            f"use --devices {n}" if n > 1 else "leave out --devices",
        )
    return wanted
