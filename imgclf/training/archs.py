"""The architectures by name, torchvision's and timm's: their weights, and the preprocessing that these expect."""

from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any, Literal

import torchvision.models as tvm
from torch import nn

from imgclf.data.images import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from imgclf.errors import ConfigError, did_you_mean
from imgclf.networks import timm_models
from imgclf.networks.bodies import BUILDERS
from imgclf.schema import Config

HUB = "https://huggingface.co/{}/resolve/main/{}"


@dataclass(frozen=True)
class Arch:
    """One architecture and its default ImageNet weights.

    Attributes:
        params: Of the whole model, its 1,000-class layer included; None where only building it would tell.
        input_size: In pixels, of the images the weights were trained on.
        hub: The repository on huggingface.co that has the weights; None: ``weights_url`` alone does.
        mean: And ``std``: what the weights expect images to be normalised with.
        fixed_size: Whether it takes images of ``input_size`` only.
        cut: Where the body ends; None: before pooling and classifier.
    """

    name: str
    params: int | None
    input_size: int
    weights_url: str
    library: Literal["torchvision", "timm"] = "torchvision"
    hub: str | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    fixed_size: bool = False
    cut: int | None = None

    @property
    def weights_file(self) -> str:
        """The name of the file; of torchvision's the part after the dash begins the file's SHA-256."""
        return self.weights_url.rsplit("/", 1)[-1]

    def build(self) -> nn.Module:
        """The whole model with random weights."""
        return timm_models.whole(self.name) if self.library == "timm" else BUILDERS[self.name](weights=None)

    def check(self, preprocess: Preprocess, pretrained: bool) -> list[str]:
        """Notes on how the images differ from those the weights were trained on.

        Raises:
            ConfigError: for a size the model cannot take.
        """
        if self.fixed_size and preprocess.size != self.input_size:
            raise ConfigError(
                f"model.arch: {self.name} takes images of {self.input_size} pixels only, augment.size is "
                f"{preprocess.size}",
                f"--size {self.input_size}, or another architecture",
            )
        if self.library == "timm" and pretrained and self.interpolation != preprocess.interpolation:
            return [
                f"timm resized {self.interpolation} when it trained {self.name}; imgclf resizes "
                f"{preprocess.interpolation}, which changes little"
            ]
        return []


def resolve(cfg: Config) -> Arch:
    """The configured architecture.

    Raises:
        ConfigError: for an unknown name, and for a cut that it does not have.
    """
    found, cut = arch(cfg.model.arch), cfg.model.cut
    if cut is not None and found.library == "timm":
        raise ConfigError(f"model.cut: {cut} is for ResNets; {found.name} gives its features itself", "leave it out")
    return replace(found, cut=cut)


def arch(name: str) -> Arch:
    """The architecture of that name; where both libraries have it, torchvision's.

    Raises:
        ConfigError: for an unknown name, with the closest one.
    """
    if name in BUILDERS:
        default: Any = tvm.get_model_weights(name).DEFAULT
        return Arch(name, default.meta["num_params"], default.transforms().crop_size[0], default.url)
    if timm_models.knows(name):
        return _timm(name)
    known = [*BUILDERS, *timm_models.names()]
    lacking = "" if timm_models.installed() else f"; if it is one of timm's, install the extra: {timm_models.INSTALL}"
    raise ConfigError(
        f"model.arch: there is no architecture '{name}'.{did_you_mean(name.partition('.')[0], known)}",
        f"`imgclf archs` lists them{lacking or ', with --filter PATTERN also those of timm'}",
    )


def all_archs(pattern: str | None = None) -> list[Arch]:
    """torchvision's architectures, smallest first; with a pattern (``*``, ``?``) all that fit, timm's too."""
    if pattern is None:
        return [arch(name) for name in BUILDERS]
    named = [name for name in BUILDERS if fnmatch(name, pattern)]
    return [arch(name) for name in dict.fromkeys([*named, *timm_models.names(pattern)])]


def _timm(name: str) -> Arch:
    said = timm_models.settings(name)
    hub, url = said.get("hf_hub_id"), said.get("url") or ""
    if hub:
        url = HUB.format(hub, said.get("hf_hub_filename") or "model.safetensors")
    return Arch(
        name,
        None,
        said["input_size"][-1],
        url,
        "timm",
        hub,
        tuple(said["mean"]),
        tuple(said["std"]),
        said.get("interpolation", "bilinear"),
        bool(said.get("fixed_input_size")),
    )
