"""What the last layer of a head sees of each image, and what the body says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from fastai.vision.all import Callback, get_model, maybe_gather
from torch import Tensor, nn

from imgclf.data.placed import PlacedLoader

MOST_KEPT = 10_000  # images whose features are kept for the judging of a run


def before_last(model: Any) -> tuple[nn.Sequential, nn.Linear] | None:
    """The network up to its last layer, and that layer; None unless it is linear and the only part of the head to fit.

    A dropout in between does not matter: what is fitted at once is fitted without.
    """
    body, head = get_model(model)
    if getattr(head, "made_by", None) is not None:  # the user's own, which begins as it was made
        return None
    last = head[-1]
    if not isinstance(last, nn.Linear) or last.bias is None or any(True for _ in head[:-1].parameters()):
        return None
    return nn.Sequential(body, *head[:-1]), last


def is_compiled(model: nn.Module) -> bool:
    """Whether a model is compiled, and so would keep a hook for good."""
    return getattr(model, "_compiled_call_impl", None) is not None


def pooled(given: Tensor) -> Tensor:
    """What a body says, (N, F, h, w) or (N, F), as one average for each feature: (N, F)."""
    return given.flatten(2).mean(2) if given.ndim > 2 else given


class Beside(nn.Module):
    """A network whose first part is the body: the body's pooled features beside its own, (N, F + D)."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.body, self.rest = network[0], network[1:]

    def forward(self, images: Tensor) -> Tensor:
        given = self.body(images)
        return torch.cat([pooled(given), self.rest(given)], 1)


@torch.no_grad()
def extract(
    network: nn.Module,
    loader: PlacedLoader,
    autocast: Any,
    seen: Callable[[int, int], object] = lambda done, of: None,
    batches: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Features (N, F) and targets, (N,) or (N, C), of a loader's images, on the CPU; in every process of all processes.

    Args:
        autocast: A context for the forward passes.
        seen: Told batches done and batches in all.
        batches: Only so many of them.
    """
    network.eval()
    features, targets = [], []
    for i, (images, labels) in enumerate(islice(loader, batches)):
        with autocast:
            found = network(images)
        n = loader.images(i)
        features.append(maybe_gather(found.float())[:n].cpu())
        targets.append(maybe_gather(labels)[:n].cpu())
        seen(i + 1, len(loader))
    return torch.cat(features).as_subclass(Tensor), torch.cat(targets).as_subclass(Tensor)


def some(n: int, most: int = MOST_KEPT) -> np.ndarray:
    """The numbers of at most so many of ``n`` images, rising, drawn at random but always the same."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).permutation(n)[:most])


@dataclass(frozen=True)
class Said:
    """What a validation pass said of each image, in the order of its loader.

    Attributes:
        features: Of the body, pooled: (M, F) float32.
        logits: (M, C) float32.
    """

    features: np.ndarray
    logits: np.ndarray


class Overhear(Callback):
    """Keep what is said of the validation images while they are validated: it is had for nothing.

    Args:
        exact: Whether validation computes as the bundle does, so that the bundle can be judged by what was heard.

    Attributes:
        said: Of the last validation; None where it could not be heard.
    """

    said: Said | None = None

    def __init__(self, exact: bool) -> None:
        self.exact = exact

    def before_validate(self) -> None:
        self.said = None
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.parts: list[Tensor] = []
        model = get_model(self.learn.model)
        self.hook = None if is_compiled(model) else model[0].register_forward_hook(self._hear)

    def _hear(self, body: nn.Module, images: tuple[Tensor, ...], given: Tensor) -> None:
        self.parts.append(pooled(given.detach().float()))

    def after_batch(self) -> None:
        if self.training or self.hook is None:
            return
        heard, self.parts = torch.cat(self.parts).as_subclass(Tensor), []
        if len(heard) == len(self.xb[0]):  # else memory was short, and the batch was begun again
            n = self.dl.images(self.iter)
            self.batches.append((maybe_gather(heard)[:n].cpu(), self.pred.detach().float()[:n].cpu()))

    def after_validate(self) -> None:
        if self.hook is None:
            return
        self.hook.remove()
        if sum(len(features) for features, _ in self.batches) == self.dl.n:
            features, logits = (torch.cat(parts).numpy() for parts in zip(*self.batches, strict=True))
            self.said = Said(features, logits)
        self.batches = []
