"""Loss functions that fastai does not have, or has in a form that class weights break.

All take logits (N, C). Single-label targets are class indices (N,), multi-label targets 0/1 rows (N, C).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from fastai.losses import BaseLoss
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

Each = Callable[[Tensor, Tensor], Tensor]


class WeightedMean(nn.Module):
    """The mean over images of a loss, each weighted by its class, as ``nn.CrossEntropyLoss(weight=…)`` takes it.

    fastai's ``FocalLoss`` multiplies by the weight *before* it asks how sure the model was, so that a weight changes
    which images count as easy, and it leaves its weights behind when the model moves to a GPU.

    Args:
        each: From logits (N, C) and targets (N,) to a loss per image, (N,).
        weight: (C,), or None: all classes count the same.
    """

    weight: Tensor | None

    def __init__(self, each: Each, weight: Tensor | None = None) -> None:
        super().__init__()
        self.each, self.reduction = each, "mean"  # fastai's MixUp and CutMix set it to "none" for a moment
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = self.each(logits.float(), targets)
        weights = torch.ones_like(losses) if self.weight is None else self.weight[targets]
        return losses * weights if self.reduction == "none" else (losses * weights).sum() / weights.sum()


class OneOfClasses(BaseLoss):
    """A ``WeightedMean`` with what fastai asks of a loss: softmax gives probabilities, the largest is the answer."""

    y_int = True  # MixUp and CutMix then mix the losses for two targets, not the targets

    def __init__(self, each: Each, weight: Tensor | None = None) -> None:
        super().__init__(WeightedMean, each, weight)

    def decodes(self, x: Tensor) -> Tensor:
        return x.argmax(dim=self.axis)

    def activation(self, x: Tensor) -> Tensor:
        return F.softmax(x, dim=self.axis)


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Cross-entropy times ``(1 - p) ** gamma``: what is right already counts less (Lin et al. 2017)."""
    losses = F.cross_entropy(logits, targets, reduction="none")
    return (1 - torch.exp(-losses)) ** gamma * losses


def one_against_rest(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of every class against all others, summed over the classes."""
    return F.binary_cross_entropy_with_logits(logits, _one_hot(logits, targets), reduction="none").sum(1)


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared difference of the softmax from the one-hot target, mean over the classes."""
    return (logits.softmax(1) - _one_hot(logits, targets)).square().mean(1)


def absolute_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Absolute difference of the softmax from the one-hot target, mean over the classes."""
    return (logits.softmax(1) - _one_hot(logits, targets)).abs().mean(1)


def _one_hot(logits: Tensor, targets: Tensor) -> Tensor:
    return F.one_hot(targets, logits.shape[1]).to(logits.dtype)


class LabelFocal(nn.Module):
    """Focal loss of each label by itself, from torchvision; ``pos_weight`` as in ``nn.BCEWithLogitsLoss``."""

    pos_weight: Tensor | None

    def __init__(self, gamma: float, pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma, self.reduction = gamma, "mean"
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        # In parts, so that the loss for labels that MixUp or CutMix blended is the blend of the losses: on such labels
        # torchvision's own formula gives something else.
        there, absent = (self._focal(logits.float(), made(targets)) for made in (torch.ones_like, torch.zeros_like))
        if self.pos_weight is not None:
            there = there * self.pos_weight
        losses = targets * there + (1 - targets) * absent
        return losses if self.reduction == "none" else losses.mean()

    def _focal(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses: Tensor = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=self.gamma)
        return losses


class AnyOfClasses(BaseLoss):
    """``LabelFocal`` with what fastai asks of a loss: sigmoid gives the probabilities, each above a half is a label."""

    def __init__(self, gamma: float, pos_weight: Tensor | None = None) -> None:
        super().__init__(LabelFocal, gamma, pos_weight, flatten=False, floatify=True)

    def decodes(self, x: Tensor) -> Tensor:
        return x > 0.5

    def activation(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)
