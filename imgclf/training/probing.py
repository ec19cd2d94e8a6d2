"""The first phase of a recipe that begins with the probe: its linear head in the place of an epoch of training."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fastai.vision.all import Callback, Learner
from torch import Tensor

from imgclf.data import folds, neighbours
from imgclf.data.balance import Balance
from imgclf.data.loaders import unaugmented
from imgclf.errors import RunError, first_line
from imgclf.training import faults, features, logistic, probe
from imgclf.training.devices import Hardware
from imgclf.training.precision import autocast


class FitHead(Callback):
    """Set the head by ``probe.fit`` and ``logistic.refine``, train on no batch, and go on to validation.

    Attributes:
        seen: Told batches done and batches in all.
        found: Told what was chosen, in words.
        kept: The body's pooled features (N, F) of training images, and their numbers (N,) in the training loader.
        judged: Those of the validation images (M, F), in the order of their loader; None if they were not to be had.
    """

    order = 50  # after whatever prepares an epoch
    kept: tuple[np.ndarray, np.ndarray] | None = None
    judged: np.ndarray | None = None

    def __init__(self, hardware: Hardware, balance: Balance) -> None:
        self.hardware, self.balance = hardware, balance
        self.seen: Callable[[int, int], object] = lambda done, of: None
        self.found: Callable[[str], object] = lambda text: None

    def before_train(self) -> None:
        parts = features.before_last(self.learn.model)
        assert parts is not None, "the plan has no probe for other heads"
        network, last = parts
        beside = features.Beside(network)
        loader = unaugmented(self.dls)
        both, y = features.extract(beside, loader, autocast(self.hardware), self.seen)
        x, chosen = both[:, -last.in_features :], features.some(len(both))
        self.kept = both[chosen, : -last.in_features].numpy(), chosen
        groups = neighbours.belonging(x.numpy(), y.numpy(), loader.items)
        rule, head = _fit(x, y, last.out_features, groups)
        moved = self._weights().log()
        with torch.no_grad():
            last.weight.copy_(head.weight)
            last.bias.copy_(head.bias + moved)
        if hasattr(self.learn, "out_of_fold"):
            others = replace(rule.others, bias=rule.others.bias + moved)
            self.learn.out_of_fold.take(others, rule.weight, rule.bias + moved)
        named = folds.named(loader.items)
        kind = f" in {len(np.unique(named)):,} groups" if named is not None else ""
        if named is None and groups is not None:
            kind = ", neighbours by name held out together, for they show the same things"
        held = "" if head.pull is None else f", then logistic regression held to it by {head.pull:g}"
        self.found(
            f"probe: {len(x):,} images{kind}, {x.shape[1]} features, shrinkage {head.shrinkage:g}{held}; "
            f"cross-validated error {head.error_rate:.3f}, loss {head.loss:.3f}"
        )
        smooth = self.learn.recorder.smooth_loss  # what the history shows as the loss in training
        smooth.count, smooth.val = 1, torch.tensor(head.loss * (1 - smooth.beta))
        self.learn.dl = []  # the epoch has no batches; cancelled, it would have no place in the history

    def after_validate(self) -> None:
        said = self.learn.heard.said
        self.judged = None if said is None else said.features

    def one_batch(self, learn: Learner) -> float:
        """Seconds for the features of the first batch: a rehearsal."""
        parts = features.before_last(learn.model)
        assert parts is not None
        started = time.perf_counter()
        features.extract(parts[0], unaugmented(learn.dls), autocast(self.hardware), batches=1)
        return time.perf_counter() - started

    def _weights(self) -> Tensor:
        """How much each class (C,) counts in training: what many epochs would move the bias to."""
        drawn = self.balance.weights if self.balance.kind == "sampler" else {}
        found = torch.tensor([drawn.get(name, 1.0) for name in self.dls.vocab])
        loss = getattr(self.loss_func, "func", self.loss_func)
        for weight in (getattr(loss, name, None) for name in ("weight", "pos_weight")):
            if isinstance(weight, Tensor):
                found = found * weight.cpu()
        return found


def _fit(x: Tensor, y: Tensor, n_classes: int, groups: np.ndarray | None) -> tuple[probe.LinearHead, probe.LinearHead]:
    """The probe's rule for features (N, F) and targets, (N,) or (N, C), of images in groups (N,); and the best head.

    Raises:
        RunError: if memory is too short: a number for each image and class is needed, several times over.
    """
    try:
        if y.dim() == 2:
            rule = probe.fit_labels(x, y, groups)
            return rule, rule
        found = probe.fit(x, y, n_classes, groups)
        assert found is not None, "the plan has no probe where no class has two images"
        return found, logistic.refine(found, x, y)
    except (RuntimeError, MemoryError) as e:
        if not faults.is_out_of_memory(e):
            raise
        raise RunError(
            f"memory is too short to compute a head of {n_classes:,} classes from {len(x):,} images: {first_line(e)}",
            "let it be trained in steps instead: --freeze-epochs 1",
        ) from e


def possible(model: Any, counts: dict[str, int]) -> bool:
    """Whether a model's head and the data allow a probe: some class needs two images."""
    return features.before_last(model) is not None and max(counts.values()) > 1
