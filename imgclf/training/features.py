"""What the last layer of a head sees of each image."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from fastai.vision.all import Learner, get_model, maybe_gather
from torch import Tensor, nn

from imgclf.data.placed import PlacedLoader


def before_last(learn: Learner) -> tuple[nn.Module, nn.Linear] | None:
    """The network up to its last layer, and that layer; None unless it is linear and the only part of the head to fit.

    A dropout in between does not matter: what is fitted at once is fitted without.
    """
    body, head = get_model(learn.model)
    if getattr(head, "made_by", None) is not None:  # the user's own, which begins as it was made
        return None
    last = head[-1]
    if not isinstance(last, nn.Linear) or last.bias is None or any(True for _ in head[:-1].parameters()):
        return None
    return nn.Sequential(body, *head[:-1]), last


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
