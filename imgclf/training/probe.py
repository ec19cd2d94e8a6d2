"""The probe: the best linear head for features that stay as they are, in closed form.

Linear discriminant analysis with a shrunk covariance: with few images a class it beats both logistic regression and a
head trained by gradient steps, and costs one pass over the images (docs/recipe.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from imgclf.data.folds import PARTS as FOLDS
from imgclf.data.folds import folds
from imgclf.training.covariance import Scatter, reduce, root, scatter

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class FoldHeads:
    """The heads of the cross-validation: each was fitted without the images of one part.

    Attributes:
        weight: (FOLDS, C, F). bias: (FOLDS, C).
        fold: (N,), the part that each image is in, and so the head that does not know it.
    """

    weight: Tensor
    bias: Tensor
    fold: Tensor


@dataclass(frozen=True)
class LinearHead:
    """``features @ weight.T + bias`` are logits.

    Attributes:
        weight: (C, F). bias: (C,).
        shrinkage: Chosen by cross-validation: the share of a multiple of the identity in the covariance.
        error_rate: Of the cross-validation over the training images; ``loss`` its cross-entropy.
        others: What the cross-validation judged, at the shrinkage and scale chosen.
        pull: How much a logistic regression was held to this rule (``logistic.refine``); None: it is the rule itself.
    """

    weight: Tensor
    bias: Tensor
    shrinkage: float
    error_rate: float
    loss: float
    others: FoldHeads
    pull: float | None = None


def fit(features: Tensor, targets: Tensor, n_classes: int, groups: np.ndarray | None = None) -> LinearHead | None:
    """The linear head for features (N, F) and class indices (N,).

    The Bayes rule of classes that are normal with a common covariance (Fisher 1936; shrinkage as in Friedman 1989,
    *Regularized Discriminant Analysis*). Its scores are far too sure where dimensions outnumber images, so they are
    multiplied by one number. Shrinkage and number are those with the lowest cross-entropy in a cross-validation in
    ``FOLDS`` parts, every class spread over all of them.

    Args:
        groups: The number (N,) of the group of each image, whose images are held out together.

    Returns:
        None where no class has two images: nothing can be cross-validated then.
    """
    counts = torch.bincount(targets, minlength=n_classes)
    if counts.max() < 2:
        return None
    centre = features.double().mean(0)
    reduced, basis = reduce(features.double() - centre)
    fold = _folds(targets, groups)
    held_out, within = _cross_validated(reduced, targets, counts, features.shape[1], fold)
    wrong = held_out.logits.argmax(1) != targets

    def head(chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Weight (C, F) and bias (C,) from some of the images."""
        found = scatter(reduced[chosen], targets[chosen], n_classes, within)
        weight, bias = _discriminant(found, held_out.shrinkage, features.shape[1])
        weight, bias = held_out.scale * (weight @ basis.T), held_out.scale * bias
        return weight.float(), (bias - weight @ centre + _log_prior(counts)).float()

    weight, bias = head(slice(None))
    others = FoldHeads(*_without_each(fold, head), fold)
    alone = others.bias.isinf()  # a class that is held out as a whole has no other head than that
    others.weight[alone], others.bias[alone] = (
        x.expand_as(y)[alone] for x, y in ((weight, others.weight), (bias, others.bias))
    )
    return LinearHead(weight, bias, held_out.shrinkage, wrong.double().mean().item(), held_out.loss, others)


def _without_each(fold: Tensor, head: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Weights (FOLDS, C, F) and biases (FOLDS, C) of the heads fitted without the images of each part."""
    weights, biases = zip(*(head(fold != k) for k in range(FOLDS)), strict=True)
    return torch.stack(weights), torch.stack(biases)


@dataclass(frozen=True)
class _HeldOut:
    """The best of a cross-validation.

    Attributes:
        logits: (N, C) of each image, from a head that was fitted without it.
    """

    shrinkage: float
    scale: float
    loss: float
    logits: Tensor


def _cross_validated(
    x: Tensor, targets: Tensor, counts: Tensor, n_features: int, fold: Tensor
) -> tuple[_HeldOut, bool]:
    """The shrinkage and scale with the lowest loss, and whether the covariance is that within classes."""
    left = counts - torch.stack([torch.bincount(targets[fold == k], minlength=len(counts)) for k in range(FOLDS)])
    within = bool(left.amax(1).min() > 1)  # else there are classes of one image alone, without any spread
    judged = left[fold, targets] > 0  # while all of its class is held out, an image has none
    parts = [(fold == k, scatter(x[fold != k], targets[fold != k], len(counts), within)) for k in range(FOLDS)]
    best: _HeldOut | None = None
    for shrinkage in SHRINKAGES:
        scores = torch.zeros(len(targets), len(counts), dtype=torch.float64)
        for held_out, rest in parts:
            weight, bias = _discriminant(rest, shrinkage, n_features)
            scores[held_out] = x[held_out] @ weight.T + bias
        loss, scale = _scale(scores[judged], targets[judged], counts)
        if best is None or loss < best.loss:
            best = _HeldOut(shrinkage, scale, loss, scores * scale + _log_prior(counts))
    assert best is not None
    return best, within


def held_out_loss(features: Tensor, targets: Tensor, n_classes: int, groups: np.ndarray | None = None) -> float | None:
    """The loss that ``fit`` or ``fit_labels`` would find in cross-validation; None where no class has two images."""
    found = _held_out(features, targets, n_classes, groups)
    return None if found is None else found.loss


def out_of_fold(features: Tensor, targets: Tensor, n_classes: int, groups: np.ndarray | None = None) -> Tensor | None:
    """The probabilities (N, C) that a probe of the other images gives each image: a label error cannot hide itself.

    With targets (N, C) of 0 and 1, of several labels an image, the probability of each label.

    Returns:
        None where no class has two images. An image alone in its class gets 0 for it.
    """
    found = _held_out(features, targets, n_classes, groups)
    if found is None:
        return None
    return found.logits.softmax(1) if isinstance(found, _HeldOut) else found.logits.sigmoid()


def _held_out(
    features: Tensor, targets: Tensor, n_classes: int, groups: np.ndarray | None
) -> "_HeldOut | _LabelsHeldOut | None":
    x, fold = reduce(features.double() - features.double().mean(0))[0], _folds(targets, groups)
    if targets.dim() == 2:
        return _labels_held_out(x, targets.double(), features.shape[1], fold)
    counts = torch.bincount(targets, minlength=n_classes)
    return None if counts.max() < 2 else _cross_validated(x, targets, counts, features.shape[1], fold)[0]


def _folds(targets: Tensor, groups: np.ndarray | None) -> Tensor:
    """The part (N,) that each image is held out in."""
    return torch.from_numpy(folds(targets.numpy(), FOLDS, groups))


def _discriminant(s: Scatter, shrinkage: float, n_features: int) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) before scale and prior; minus infinity for a class without images.

    The mean of n images is not that of the class: the square of its length is too large by the n-th part of how many
    dimensions count, and the class that has fewer images would be answered less often than it is there (Moran and
    Murphy 1979, *A Closer Look at Two Alternative Methods of Statistical Discrimination*). So that part is taken off.
    """
    factor = root(s.within, shrinkage, n_features)
    weight = torch.cholesky_solve(s.means.T, factor).T
    length = (s.means * weight).sum(1)
    if s.pooled:
        dimensions = (torch.cholesky_inverse(factor) * s.within).sum()  # the trace of their product
        length = length - dimensions / s.counts.clamp(min=1)
    return weight, (-0.5 * length).masked_fill(s.counts == 0, -torch.inf)


def _log_prior(counts: Tensor) -> Tensor:
    return (counts.clamp(min=1).double() / counts.sum()).log()


def _scale(scores: Tensor, targets: Tensor, counts: Tensor) -> tuple[float, float]:
    """The lowest cross-entropy, and the number to multiply the scores with for it."""
    prior = _log_prior(counts)
    scores = scores.clamp(min=-1e30)  # zero times minus infinity is not a number

    def loss(log_scale: float) -> float:
        return F.cross_entropy(scores * torch.tensor(log_scale).exp() + prior, targets).item()

    # At most one, the rule as it is: where all is right in cross-validation, nothing else would keep it from certainty.
    found = minimize_scalar(loss, bounds=(-12.0, 0.0), method="bounded")
    return float(found.fun), float(torch.tensor(found.x).exp())


def fit_labels(features: Tensor, targets: Tensor, groups: np.ndarray | None = None) -> LinearHead:
    """The linear head for features (N, F) and 0/1 targets (N, C) of images with several labels.

    Least squares with a shrunk covariance, which for one label is the direction of the discriminant analysis of
    ``fit``; then each label's scores are made into logits (Platt 1999) by the scores of held-out images.
    """
    y, n_features = targets.double(), features.shape[1]
    centre = features.double().mean(0)
    reduced, basis = reduce(features.double() - centre)
    fold = _folds(targets, groups)
    held_out = _labels_held_out(reduced, y, n_features, fold)
    wrong = (held_out.logits > 0) != y.bool()

    def head(chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Weight (C, F) and bias (C,) from some of the images."""
        weight, bias = _least_squares(reduced[chosen], y[chosen], held_out.shrinkage, n_features)
        weight, bias = held_out.slopes[:, None] * (weight @ basis.T), held_out.slopes * bias + held_out.offsets
        return weight.float(), (bias - weight @ centre).float()

    others = FoldHeads(*_without_each(fold, head), fold)
    error = wrong.double().mean().item()
    return LinearHead(*head(slice(None)), held_out.shrinkage, error, held_out.loss, others)


@dataclass(frozen=True)
class _LabelsHeldOut:
    """The best of a cross-validation for several labels: logits (N, C) are scores times slopes plus offsets (C,)."""

    shrinkage: float
    slopes: Tensor
    offsets: Tensor
    loss: float
    logits: Tensor


def _labels_held_out(x: Tensor, y: Tensor, n_features: int, fold: Tensor) -> _LabelsHeldOut:
    best: _LabelsHeldOut | None = None
    for shrinkage in SHRINKAGES:
        scores = torch.zeros_like(y)
        for k in range(FOLDS):
            weight, bias = _least_squares(x[fold != k], y[fold != k], shrinkage, n_features)
            scores[fold == k] = x[fold == k] @ weight.T + bias
        slopes, offsets = _platt(scores, y)
        logits = scores * slopes + offsets
        loss = F.binary_cross_entropy_with_logits(logits, y).item()
        if best is None or loss < best.loss:
            best = _LabelsHeldOut(shrinkage, slopes, offsets, loss, logits)
    assert best is not None
    return best


def _least_squares(x: Tensor, y: Tensor, shrinkage: float, n_features: int) -> tuple[Tensor, Tensor]:
    mean, share = x.mean(0), y.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    factor = root(covariance, shrinkage, n_features)
    weight = torch.cholesky_solve((x - mean).T @ (y - share) / len(x), factor).T
    return weight, share - weight @ mean


def _platt(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset (C,) of each label; in a label that all images have, or none, its share alone counts."""
    n, slopes, offsets = len(y), torch.zeros(y.shape[1], dtype=y.dtype), torch.zeros(y.shape[1], dtype=y.dtype)
    for i, count in enumerate(y.sum(0).tolist()):
        if 0 < count < n:
            x = scores[:, i : i + 1]
            width = float(x.std()) or 1.0
            found = LogisticRegression().fit((x / width).numpy(), y[:, i].numpy())
            slopes[i], offsets[i] = float(found.coef_[0, 0]) / width, float(found.intercept_[0])
        else:
            offsets[i] = torch.tensor((count + 0.5) / (n + 1)).logit()
    return slopes, offsets
