"""The body of a network by the architecture's name: torchvision's ResNets, and timm's models if timm is there."""

from collections.abc import Callable
from typing import Any

import torchvision.models as tvm
from torch import nn

from imgclf.errors import ModelError, did_you_mean
from imgclf.networks import timm_models

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": tvm.resnet18,
    "resnet34": tvm.resnet34,
    "resnet50": tvm.resnet50,
    "resnet101": tvm.resnet101,
    "resnet152": tvm.resnet152,
}
CUT = -2  # the last two of a ResNet are its own pooling and classifier, which the head replaces


def body(arch: str, channels: int = 3, cut: int | None = None) -> nn.Module:
    """A body with random weights: (N, channels, H, W) normalised to a feature map (N, F, h, w), or features (N, F).

    Args:
        cut: Of a ResNet: where it ends, as the end of a slice of its children; None: ``CUT``.

    Raises:
        ModelError: for a name that is not known here.
    """
    if isinstance(arch, str) and arch in BUILDERS:
        return _resnet(arch, channels, cut)
    if isinstance(arch, str) and timm_models.knows(arch):
        return timm_models.body(arch, channels)
    raise ModelError(f"unknown architecture {arch!r}.{did_you_mean(str(arch), BUILDERS)}", f"known ones: {known()}")


def known() -> str:
    """The names there are, in words."""
    if timm_models.installed():
        return f"{', '.join(BUILDERS)} and the names of `imgclf archs --filter PATTERN`"
    return f"{', '.join(BUILDERS)}; timm's need the extra: {timm_models.INSTALL}"


def _resnet(arch: str, channels: int, cut: int | None) -> nn.Sequential:
    children: list[Any] = list(BUILDERS[arch](weights=None).children())[: CUT if cut is None else cut]
    if channels != 3:
        stem = children[0]
        size, stride, padding = stem.kernel_size, stem.stride, stem.padding
        children[0] = nn.Conv2d(channels, stem.out_channels, size, stride, padding, bias=False)
    return nn.Sequential(*children)
