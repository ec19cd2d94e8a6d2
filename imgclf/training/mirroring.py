"""Whether the mirror image of an image is one of the same class (``augment.flip``).

Of animals it is, of digits, letters and arrows it is not, and training on it then teaches what is wrong. The probe
knows: each training image's mirror image is answered by a head of the cross-validation that was fitted without that
image. Where left and right do not matter, its loss is that of the image itself (docs/recipe.md).
"""

import math

import torch.nn.functional as F
from torch import Tensor

from imgclf.training import probe
from imgclf.training.looking import Look

# Times the loss of the images themselves: photographs were at most at 1.1, letters at 1.2, digits at 1.8 and more.
HARMLESS = 1.15
SURE = 3.0  # standard errors between the two, or it may be chance


def losses(upright: Look, mirrored: Look) -> tuple[Tensor, Tensor] | None:
    """The loss of each image, and of its mirror image, by heads that do not know it: (N,) and (N,).

    Returns:
        None where no class has two images: nothing can be cross-validated then.
    """
    x, y = upright.features, upright.targets
    more = upright.groups
    head = probe.fit_labels(x, y, more) if y.dim() == 2 else probe.fit(x, y, upright.n_classes, more)
    if head is None:
        return None
    one, other = (_loss(_answers(head.others, seen.features), y) for seen in (upright, mirrored))
    return one, other


def _answers(heads: probe.FoldHeads, features: Tensor) -> Tensor:
    """Logits (N, C) of each image, by the head that was fitted without it."""
    found = features.new_empty(len(features), heads.bias.shape[1])
    for k, (weight, bias) in enumerate(zip(heads.weight, heads.bias, strict=True)):
        held_out = heads.fold == k
        found[held_out] = features[held_out] @ weight.T + bias
    return found


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets, reduction="none")
    return F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").mean(1)


def told(upright: Tensor, mirrored: Tensor) -> tuple[bool, list[str]]:
    """Whether to mirror images in training, by the losses (N,) of both; and what to tell the user."""
    n, one, other = len(upright), upright.mean().item(), mirrored.mean().item()
    error = (mirrored - upright).std(correction=0).item() / math.sqrt(n)
    flip = other <= HARMLESS * one or other - one <= SURE * error
    what = "half of the training images are mirrored" if flip else "no image is mirrored, for left is not right"
    text = f"flip: {what}; a probe's cross-validated loss is {one:.3f}, {other:.3f} of the mirror images"
    return flip, [f"{text} (augment.flip: auto)"]
