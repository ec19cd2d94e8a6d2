"""fastai's ``vision_learner`` from the configuration: every parameter by its own name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torchvision.models as tvm
from fastai.vision.all import (
    SGD,
    Adam,
    Lamb,
    Learner,
    ProgressCallback,
    RAdam,
    RMSProp,
    model_meta,
    noop,
    ranger,
    vision_learner,
)
from torch import nn

from imgclf.data.loaders import Loaders
from imgclf.schema import Config
from imgclf.training import augment, precision, speed
from imgclf.training.archs import Arch
from imgclf.training.devices import Hardware
from imgclf.training.losses import Task, loss_func
from imgclf.training.scores import Score
from imgclf.training.weights import Weights, load_into

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": Adam, "sgd": SGD, "rmsprop": RMSProp, "radam": RAdam, "ranger": ranger, "lamb": Lamb,
}  # fmt: skip

INITS: dict[str | None, Callable[..., Any] | None] = {
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    None: None,
}


def build(
    cfg: Config,
    loaders: Loaders,
    arch: Arch,
    weights: Weights,
    scores: dict[str, Score],
    hardware: Hardware,
    task: Task = "single",
) -> tuple[Learner, list[str]]:
    """The learner, its body frozen if pretrained, and notes for the user.

    Normalisation is part of our own DataBlock, with or without pretraining (fastai adds it only with), so ``normalize``
    is False here.
    """
    notes: list[str] = []
    learn = vision_learner(
        loaders.dls,
        partial(_body, arch=arch, weights=weights, notes=notes),
        normalize=False,
        pretrained=weights.pretrained,
        loss_func=loss_func(cfg, list(loaders.dls.vocab), task, loaders.balance.loss_weights),
        opt_func=OPTIMIZERS[cfg.train.opt],
        n_in=loaders.preprocess.channels,
        splitter=model_meta[tvm.resnet18]["split"],
        metrics=[score.make(task) for score in scores.values()],
        wd=cfg.train.wd,
        wd_bn_bias=cfg.train.wd_bn_bias,
        train_bn=cfg.train.train_bn,
        moms=cfg.train.moms,
        init=INITS[cfg.model.init],
        concat_pool=cfg.model.concat_pool,
        pool=cfg.model.pool,
        lin_ftrs=_list(cfg.model.lin_ftrs),
        ps=cfg.model.ps,
        first_bn=cfg.model.first_bn,
        bn_final=cfg.model.bn_final,
        lin_first=cfg.model.lin_first,
    )
    learn.to(hardware.device)
    learn.remove_cbs(learn.cbs.filter(lambda cb: isinstance(cb, ProgressCallback)))
    learn.logger = noop
    learn.add_cbs([*precision.callbacks(hardware), *augment.callbacks(cfg)])
    return learn, [*notes, *speed.apply(cfg, learn, hardware)]


def parameters(learn: Learner, freeze_to: int) -> tuple[int, int]:
    """How many parameters train, and how many there are, in a phase that trains from that layer group on."""
    learn.freeze_to(freeze_to)
    counts = [(p.numel(), p.requires_grad) for p in learn.model.parameters()]
    return sum(n for n, trains in counts if trains), sum(n for n, _ in counts)


def _body(pretrained: bool, *, arch: Arch, weights: Weights, notes: list[str]) -> nn.Module:
    """What fastai calls as the architecture: the torchvision model, with our weights rather than a download."""
    model = arch.build()
    if pretrained:
        notes.append(load_into(model, weights))
    return model


def _list(sizes: tuple[int, ...] | None) -> list[int] | None:
    return None if sizes is None else list(sizes)
