"""BatchNorm as a part of the convolution before it.

With statistics that stay as they are, BatchNorm multiplies each channel by a number and adds one: what the convolution
can do with other weights and a bias. The answers are the same but for rounding, and a pass over every feature map is
saved (docs/benchmarks.md).
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pairs(body: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions of a torchvision ResNet's body, each with the BatchNorm behind it; none of other bodies."""
    return ((conv, norm) for _, _, conv, norm in _places(body))


def _places(body: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d, nn.BatchNorm2d]]:
    """The pairs, each with the module that the BatchNorm is in, and its name there.

    Only of ResNets is it known here that layers which stand together are computed one after the other.
    """
    if not isinstance(body, nn.Sequential):
        return
    for module in list(body.modules()):
        for (_, layer), (name, follower) in pairwise(list(module.named_children())):
            if type(layer) is nn.Conv2d and type(follower) is nn.BatchNorm2d:
                yield module, name, layer, follower


def fold(body: nn.Module) -> None:
    """Fold a body for good, as it is in evaluation mode: it has no BatchNorm layers any more."""
    for module, name, conv, norm in _places(body):
        weight, bias = _folded(conv, norm)
        conv.weight, conv.bias = (nn.Parameter(x.detach(), requires_grad=False) for x in (weight, bias))
        setattr(module, name, nn.Identity())


def fold_while_fixed(body: nn.Module) -> None:
    """Compute a body folded whenever its BatchNorm layers are in evaluation mode, in training too.

    Weights, names and gradients are those of the layers as they are; copies of the body do the same.
    """
    for conv, norm in pairs(body):
        # Partials of functions, not closures: a copy of the body gets the layers of the copy.
        conv.forward = partial(_convolve, conv, norm)  # type: ignore[method-assign]
        norm.forward = partial(_normalise, conv, norm)  # type: ignore[method-assign]


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what both do."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    return conv.weight * scale[:, None, None, None], bias if conv.bias is None else bias + conv.bias * scale


def _apart(conv: nn.Conv2d, norm: nn.BatchNorm2d, pixels: int) -> bool:
    """Whether the two are computed one after the other.

    So they are where the convolution alone is frozen: its weights' gradient, which takes long, is not needed then.

    Args:
        pixels: Of the convolution's result, those of all images together.
    """
    frozen = norm.weight.requires_grad and not conv.weight.requires_grad
    return norm.training or (frozen and torch.is_grad_enabled()) or not _pays(conv, pixels)


def _pays(conv: nn.Conv2d, pixels: int) -> bool:
    """Whether the result has more numbers than the weights: folding goes over these, BatchNorm over the result."""
    return pixels >= conv.weight[0].numel()


def _pixels_of(conv: nn.Conv2d, x: Tensor) -> int:
    """The ``pixels`` of what it will make of ``x``."""
    assert not isinstance(conv.padding, str), "none of a ResNet's is"
    sides = zip(x.shape[2:], conv.padding, conv.dilation, conv.kernel_size, conv.stride, strict=True)
    return len(x) * math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sides)


def _convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if _apart(conv, norm, _pixels_of(conv, x)):
        return nn.Conv2d.forward(conv, x)
    weight, bias = _folded(conv, norm)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _normalise(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return nn.BatchNorm2d.forward(norm, x) if _apart(conv, norm, len(x) * math.prod(x.shape[2:])) else x
