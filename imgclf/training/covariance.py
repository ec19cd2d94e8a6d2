"""Class means and the covariance around them, of more features than there are images."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scatter:
    """What discriminant analysis needs of features: class means (C, D), counts (C,), covariance within (D, D).

    Attributes:
        pooled: ``within`` is the covariance around the means of the classes, not around that of all.
    """

    means: Tensor
    counts: Tensor
    within: Tensor
    pooled: bool


def reduce(x: Tensor) -> tuple[Tensor, Tensor]:
    """The features in the at most N dimensions they span, and the (F, D) basis; means lie in it, so nothing is lost."""
    n, d = x.shape
    if d <= n:
        return x, torch.eye(d, dtype=x.dtype)
    basis = torch.linalg.qr(x.T).Q
    return x @ basis, basis


def scatter(x: Tensor, targets: Tensor, n_classes: int, within: bool) -> Scatter:
    """Of features (N, D); with ``within`` false the covariance is that of all, around their mean, which is at 0."""
    counts = torch.bincount(targets, minlength=n_classes)
    sums = torch.zeros(n_classes, x.shape[1], dtype=x.dtype).index_add_(0, targets, x)
    means = sums / counts.clamp(min=1)[:, None]
    rest = x - means[targets] if within else x
    freedom = len(x) - (int((counts > 0).sum()) if within else 1)
    return Scatter(means, counts, rest.T @ rest / max(1, freedom), within)


def root(covariance: Tensor, shrinkage: float, n_features: int) -> Tensor:
    """The lower Cholesky factor (D, D) of a covariance mixed with a multiple of the identity.

    Args:
        n_features: D before it was reduced.
    """
    mixed = (1 - shrinkage) * covariance
    mixed.diagonal().add_(shrinkage * covariance.trace() / n_features + torch.finfo(torch.float32).tiny)
    factor: Tensor = torch.linalg.cholesky(mixed)
    return factor
