"""A look at some of the training images through the frozen body, as a probe takes them: by it the recipe chooses.

`framing` chooses how much of an image the model sees, `mirroring` whether images are mirrored in training,
`familiarity` how much of the body trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgclf.data import folds, neighbours
from imgclf.data.images import Preprocess
from imgclf.data.loaders import Loaders, unaugmented
from imgclf.data.placed import PlacedLoader
from imgclf.data.suited import Familiar
from imgclf.networks import folding
from imgclf.schema import Config
from imgclf.training import familiarity, features, network, probe, speed
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.precision import autocast
from imgclf.training.weights import Weights

IMAGES = 256  # of training, at most: enough to tell what matters


class Stages(nn.Module):
    """The pooled features of a body, those of a ResNet's stage before the last beside them: (N, F) or (N, F + F').

    Attributes:
        width: F, once an image has been seen.
    """

    width: int

    def __init__(self, body: Any, pool: nn.Module, both: bool) -> None:
        super().__init__()
        self.pool = pool
        self.before: Any = body[:-1] if both else None
        self.last: Any = body[-1] if both else body
        self.mirrored = False  # left to right, before anything else

    def forward(self, x: Tensor) -> Tensor:
        x = x.flip(3) if self.mirrored else x
        if self.before is None:
            found = [self.pool(self.last(x))]
        else:
            before = self.before(x)
            found = [self.pool(self.last(before)), self.pool(before)]
        self.width = found[0].shape[1]
        return torch.cat(found, 1)


def has_stages(arch: Arch) -> bool:
    """Whether it is known which part of a body comes before the last."""
    return arch.library == "torchvision"


def through(cfg: Config, arch: Arch, found: Weights, hardware: Hardware, preprocess: Preprocess) -> Stages:
    """The pretrained body, computed as is quickest here."""
    body, pool = network.pretrained(arch, found, preprocess.channels).to(hardware.device)
    if hardware.device.type == "cpu":
        folding.fold(body)
    made = Stages(body, pool, has_stages(arch))
    if speed.channels_last(cfg, hardware, preprocess.size):
        made = made.to(memory_format=torch.channels_last)
    return made


@dataclass(frozen=True)
class Look:
    """What the body sees of some of the training images.

    Attributes:
        features: Of the last stage, (N, F).
        targets: (N,) or (N, C).
        n_classes: C.
        before: The features of the stage before, (N, F'); None where stages are not known.
        groups: The number (N,) of what each image is held out with; None: alone.
    """

    features: Tensor
    targets: Tensor
    n_classes: int
    before: Tensor | None = None
    groups: np.ndarray | None = None

    @cached_property
    def loss(self) -> float | None:
        """The cross-validated loss of a probe; None where no class has two images."""
        return probe.held_out_loss(self.features, self.targets, self.n_classes, self.groups)

    @cached_property
    def loss_before(self) -> float | None:
        """The same one stage earlier; None also where stages are not known."""
        if self.before is None:
            return None
        return probe.held_out_loss(self.before, self.targets, self.n_classes, self.groups)

    def familiarity(self, passing: int) -> tuple[Familiar, list[str]] | None:
        """Whether the body's last layers suit the images, and what to tell; None where that is not known.

        Args:
            passing: Images of all training steps together.
        """
        if self.loss is None or self.loss_before is None:
            return None
        return familiarity.told(self.loss, self.loss_before, passing)


def look(
    body: Stages,
    loaders: Loaders,
    hardware: Hardware,
    seen: Callable[[], object] = lambda: None,
    mirrored: bool = False,
) -> Look:
    """Look at some of the training images, as they are or mirrored.

    Args:
        seen: Called after each batch.
    """
    body.mirrored = mirrored
    some = of(loaders)
    x, y = features.extract(body, some, autocast(hardware), lambda done, of: seen())
    last, before = _normal(x[:, : body.width]), x[:, body.width :]
    earlier = _normal(before) if before.shape[1] else None
    return Look(last, y, len(loaders.dls.vocab), earlier, folds.named(some.items))


def _normal(x: Tensor) -> Tensor:
    """As the head of the recipe has it."""
    return F.layer_norm(x, x.shape[1:])


def of(loaders: Loaders) -> PlacedLoader:
    """The images that are looked at."""
    return unaugmented(loaders.dls, features.some(loaders.dls.train.n, IMAGES).tolist())


def held_together(looks: Mapping[float, Look]) -> dict[float, Look]:
    """The looks at the same images, which hold together what the first of them finds to belong together."""
    first = next(iter(looks.values()))
    groups = first.groups
    if groups is None:
        groups = neighbours.belonging(first.features.numpy(), first.targets.numpy(), ())
    return {share: replace(seen, groups=groups) for share, seen in looks.items()}


def losses(looks: Mapping[float, Look]) -> dict[float, float]:
    """The cross-validated loss for each look; empty where no class has two images."""
    return {share: loss for share, seen in looks.items() if (loss := seen.loss) is not None}
