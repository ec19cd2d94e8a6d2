"""The architectures: torchvision's ResNets by name, and where their ImageNet weights come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torchvision.models as tvm
from torch import nn

from imgclf.errors import ConfigError, did_you_mean
from imgclf.schema import Config

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": tvm.resnet18,
    "resnet34": tvm.resnet34,
    "resnet50": tvm.resnet50,
    "resnet101": tvm.resnet101,
    "resnet152": tvm.resnet152,
}


@dataclass(frozen=True)
class Arch:
    """One architecture and its default ImageNet weights.

    ``params`` counts the whole torchvision model, its 1,000-class layer included; ``input_size`` is in pixels; ``cut``
    says where the body ends, None: before pooling and classifier.
    """

    name: str
    params: int
    input_size: int
    weights_url: str
    cut: int | None = None

    @property
    def weights_file(self) -> str:
        """The file name torchvision looks for in its cache; the part after the dash begins the file's SHA-256."""
        return self.weights_url.rsplit("/", 1)[-1]

    def build(self) -> nn.Module:
        """The torchvision model with random weights."""
        return BUILDERS[self.name](weights=None)


def resolve(cfg: Config) -> Arch:
    """The configured architecture; raises ConfigError for an unknown name."""
    return replace(arch(cfg.model.arch), cut=cfg.model.cut)


def arch(name: str) -> Arch:
    """The architecture of that name.

    Raises:
        ConfigError: for an unknown name, with the closest one.
    """
    if name not in BUILDERS:
        raise ConfigError(
            f"model.arch: there is no architecture '{name}'.{did_you_mean(name, BUILDERS)}",
            "`imgclf archs` lists them",
        )
    default: Any = tvm.get_model_weights(name).DEFAULT
    return Arch(name, default.meta["num_params"], default.transforms().crop_size[0], default.url)


def all_archs() -> list[Arch]:
    """Every architecture, smallest first."""
    return [arch(name) for name in BUILDERS]
