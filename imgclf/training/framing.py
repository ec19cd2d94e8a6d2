"""How much of an image the model sees: all of the centre square, or less and so larger (``augment.crop_pct``).

ImageNet's networks were trained on random crops, and judged on the centre 224 of 256 pixels: objects the size they
knew (Touvron et al. 2019, *Fixing the train-test resolution discrepancy*). The whole square shows them smaller, at 128
pixels by half. Whether that matters more than the edges depends on the images, so the probe decides (docs/recipe.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgclf.data.images import Preprocess
from imgclf.data.loaders import Loaders, unaugmented
from imgclf.data.placed import PlacedLoader
from imgclf.networks import folding
from imgclf.schema import Config
from imgclf.training import features, probe, speed
from imgclf.training import network as networks
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.precision import autocast
from imgclf.training.weights import Weights

USUAL = 0.875  # of the shorter side, where the model's input is as large as in its pretraining
LEAST = 0.75  # or little is left of what is near the edges: nearly half of the square's area is gone
IMAGES = 256  # of training, at most: enough to tell what matters
CLEARLY = 0.99  # of the loss with all of the square: less of an image only where that helps


def candidates(size: int, pretrained_at: int) -> tuple[float, ...]:
    """The shares worth a look, for an input of ``size`` pixels and weights from images of ``pretrained_at``.

    All of the square, and the share at which objects are as large as when the weights were judged; at least ``LEAST``.
    """
    share = max(LEAST, USUAL * size / pretrained_at)
    return (1.0,) if share >= 1 else (1.0, share)


def network(cfg: Config, arch: Arch, found: Weights, hardware: Hardware, preprocess: Preprocess) -> nn.Module:
    """What looks: the pretrained body, pooled to (N, F), computed as is quickest here."""
    made = networks.pretrained(arch, found, preprocess.channels).to(hardware.device)
    if hardware.device.type == "cpu":
        folding.fold(made[0])
    if speed.channels_last(cfg, hardware, preprocess.size):
        made = made.to(memory_format=torch.channels_last)
    return made


@dataclass(frozen=True)
class Look:
    """What a frozen body sees of some of the training images.

    Attributes:
        features: As the probe takes them, (N, F).
        targets: (N,) or (N, C).
        n_classes: C.
    """

    features: Tensor
    targets: Tensor
    n_classes: int


def look(body: nn.Module, loaders: Loaders, hardware: Hardware, seen: Callable[[], object] = lambda: None) -> Look:
    """Look at some of the training images, as they are.

    Args:
        body: To pooled features (N, F).
        seen: Called after each batch.
    """
    x, y = features.extract(body, of(loaders), autocast(hardware), lambda done, of: seen())
    return Look(F.layer_norm(x, x.shape[1:]), y, len(loaders.dls.vocab))


def of(loaders: Loaders) -> PlacedLoader:
    """The images that are looked at."""
    return unaugmented(loaders.dls, features.some(loaders.dls.train.n, IMAGES).tolist())


def losses(looks: Mapping[float, Look]) -> dict[float, float]:
    """The cross-validated loss of a probe for each share; empty where no class has two images."""
    found = {share: probe.held_out_loss(*vars(seen).values()) for share, seen in looks.items()}
    return {share: loss for share, loss in found.items() if loss is not None}


def told(found: Mapping[float, float]) -> tuple[float, list[str]]:
    """The share with the lowest loss, all of the square unless another is clearly lower; and what to tell the user."""
    share = min(found, key=lambda share: found[share])
    if found[share] > CLEARLY * found[1.0]:
        share = 1.0
    others = ", ".join(f"{loss:.3f} with {_part(other)}" for other, loss in found.items() if other != share)
    text = f"framing: {_part(share)}; a probe's cross-validated loss is {found[share]:.3f}, {others}"
    return share, [f"{text} (augment.crop_pct: auto)"]


def _part(share: float) -> str:
    return "the whole centre square" if share == 1 else f"the centre {share:.3g} of the shorter side"
