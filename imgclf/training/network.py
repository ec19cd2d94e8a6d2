"""The network of a learner: the architecture's body, cut, with our weights, and a head for the classes.

What fastai's ``create_vision_model`` and ``create_timm_model`` do, of the same parts in the same order.
``vision_learner`` itself cannot be used: fastai 2.8.12 takes ``cut`` and never passes it on.
"""

from collections.abc import Callable
from typing import Any

import torch
import torchvision.models as tvm
from fastai.callback.hook import num_features_model
from fastai.vision.learner import add_head, create_body, default_split, model_meta
from torch import nn

from imgclf import foreign
from imgclf.data.images import Preprocess
from imgclf.errors import ConfigError, ModelError
from imgclf.networks import timm_models
from imgclf.schema import Config
from imgclf.training.archs import Arch
from imgclf.training.weights import Weights, load_into

INITS: dict[str | None, Callable[..., Any] | None] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    None: None,
}
RESNET_SPLIT = 6  # the first child of a ResNet's body in its second layer group: stage 3
RESNET_GROUPS = ("stem and stages 1 and 2", "stages 3 and 4", "the head")


def build(
    cfg: Config, arch: Arch, weights: Weights, preprocess: Preprocess, n_classes: int, simple: bool = False
) -> tuple[Any, list[str]]:
    """``Sequential(body, head)``, and notes for the user: (N, channels, H, W) normalised to (N, n_classes) logits.

    A custom head's code is run: ``check_trust`` comes first.

    Args:
        simple: Make the head one linear layer on average features, each image's brought to mean 0 and variance 1, but
            for what the configuration says.

    Raises:
        ConfigError: for a head the body has no use for.
        ModelError: for a custom head that cannot be made or does not fit.
    """
    body, notes = _body(arch, weights, preprocess.channels)
    model = _with_head(cfg, body, n_classes, simple)
    if (made_by := getattr(model[1], "made_by", None)) is not None:
        shape = (preprocess.channels, preprocess.size, preprocess.size)
        _check_outputs(made_by["factory"], model, shape, n_classes)
    return model, notes


def splitter(model: Any) -> Any:
    """fastai's layer groups: of a ResNet stem with stages 1 and 2, later stages, head; of all others body and head."""
    if isinstance(model[0], nn.Sequential) and len(model[0]) > RESNET_SPLIT:
        return model_meta[tvm.resnet18]["split"](model)
    return default_split(model)


def group_names(model: Any) -> tuple[str, ...]:
    """What the layer groups are called."""
    return RESNET_GROUPS if len(splitter(model)) == len(RESNET_GROUPS) else ("the body", "the head")


def _body(arch: Arch, weights: Weights, channels: int) -> tuple[Any, list[str]]:
    """The body, and what was loaded into it."""
    if arch.library == "timm":
        body = timm_models.body(arch.name, channels)
        return body, [load_into(body.model, weights, arch, channels)] if weights.pretrained else []
    model = arch.build()
    notes = [load_into(model, weights, arch)] if weights.pretrained else []
    return create_body(model, channels, weights.pretrained, arch.cut), notes


def pretrained(arch: Arch, weights: Weights, channels: int) -> nn.Sequential:
    """The body as it was before any training, on the CPU, and nothing but average pooling behind it."""
    body, _ = _body(arch, weights, channels)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if getattr(body, "gives_map", True) else []
    return nn.Sequential(body, nn.Sequential(*pool)).eval()


def custom_head(cfg: Config) -> str | None:
    """The import path of what makes the head, if it is not fastai's."""
    return cfg.model.custom_head


def check_trust(cfg: Config, trust: bool) -> None:
    """Refuse a configuration that names code, unless it is trusted; raises ModelError."""
    if (path := custom_head(cfg)) is not None:
        foreign.check(path, trust, "model.custom_head")


def _with_head(cfg: Config, body: Any, n_classes: int, simple: bool) -> Any:
    init = INITS[cfg.model.init]
    if (path := custom_head(cfg)) is not None:
        head = _made_by(path, _features(body), n_classes)
        return add_head(body, _features(body), n_classes, init=init, head=head)
    wants_pool, gives_map = cfg.model.pool, getattr(body, "gives_map", True)
    if gives_map and not wants_pool:
        raise ConfigError(
            "model.pool: false is for bodies that pool themselves; this one gives a feature map, and a head without "
            "pooling cannot take that",
            "leave it out",
        )
    lin_ftrs, first_bn, concat_pool, ps = cfg.model.lin_ftrs, cfg.model.first_bn, cfg.model.concat_pool, cfg.model.ps
    linear = simple and lin_ftrs in ("auto", ()) and first_bn in ("auto", False)
    model = add_head(
        body,
        _features(body),
        n_classes,
        init=init,
        pool=gives_map,
        concat_pool=not linear if concat_pool == "auto" else concat_pool,
        lin_ftrs=([] if linear else None) if lin_ftrs == "auto" else _list(lin_ftrs),
        ps=(0.0 if linear else 0.5) if ps == "auto" else ps,
        first_bn=not linear if first_bn == "auto" else first_bn,
        bn_final=cfg.model.bn_final,
        lin_first=cfg.model.lin_first,
        y_range=cfg.model.y_range,
    )
    last = model[1][-1]
    if linear and first_bn == "auto" and isinstance(last, nn.Linear):
        model[1].insert(len(model[1]) - 1, nn.LayerNorm(last.in_features, elementwise_affine=False))
    return model


def _made_by(path: str, n_features: int, n_classes: int) -> Any:
    """The head that code makes, with a note on it of how: a model file may have to say so."""
    head = foreign.call(path, n_features, n_classes)
    if not isinstance(head, nn.Module):
        raise ModelError(f"{path}({n_features}, {n_classes}) gives a {type(head).__name__}, not a torch.nn.Module")
    made_by: Any = {"layer": "Code", "factory": path, "features": n_features, "outputs": n_classes}
    head.made_by = made_by
    return head


def _check_outputs(path: str, model: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    """Two images in evaluation mode, before anything is trained: nothing is drawn, nothing learned."""
    try:
        with torch.no_grad():
            found = tuple(model.eval()(torch.zeros(2, *shape)).shape)
    except Exception as e:  # whatever the code of the head raises
        raise ModelError(f"the head of {path} cannot take what the body gives: {type(e).__name__}: {e}") from e
    if found != (2, n_classes):
        raise ModelError(f"the head of {path} answers 2 images with the shape {found}, not (2, {n_classes})")


def _features(body: Any) -> int:
    """How many the body gives. fastai counts those of a ``Sequential`` by a forward pass."""
    if isinstance(body, timm_models.TimmBody):
        return int(body.model.num_features)
    return int(num_features_model(nn.Sequential(*body.children())))


def _list(sizes: tuple[int, ...] | None) -> list[int] | None:
    return None if sizes is None else list(sizes)
