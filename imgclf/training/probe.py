"""The probe: the best linear head for features that stay as they are, in closed form.

Linear discriminant analysis with a shrunk covariance: with few images a class it beats both logistic regression and a
head trained by gradient steps, and costs one pass over the images (docs/recipe.md has the figures).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from torch import Tensor

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
FOLDS = 5


@dataclass(frozen=True)
class LinearHead:
    """``features @ weight.T + bias`` are logits.

    Attributes:
        weight: (C, F). bias: (C,).
        shrinkage: Chosen by cross-validation: the share of a multiple of the identity in the covariance.
        error_rate: Of the cross-validation over the training images; ``loss`` its cross-entropy.
    """

    weight: Tensor
    bias: Tensor
    shrinkage: float
    error_rate: float
    loss: float


@dataclass(frozen=True)
class _Scatter:
    """What discriminant analysis needs of features: class means (C, D), counts (C,), covariance within (D, D)."""

    means: Tensor
    counts: Tensor
    within: Tensor


def fit(features: Tensor, targets: Tensor, n_classes: int) -> LinearHead | None:
    """The linear head for features (N, F) and class indices (N,).

    The Bayes rule of classes that are normal with a common covariance (Fisher 1936; shrinkage as in Friedman 1989,
    *Regularized Discriminant Analysis*). Its scores are far too sure where dimensions outnumber images, so they are
    multiplied by one number. Shrinkage and number are those with the lowest cross-entropy in a cross-validation in
    ``FOLDS`` parts, every class spread over all of them.

    Returns:
        None where no class has two images: nothing can be cross-validated then.
    """
    counts = torch.bincount(targets, minlength=n_classes)
    if counts.max() < 2:
        return None
    centre = features.double().mean(0)
    reduced, basis = _reduce(features.double() - centre)
    within = bool(counts.max() > 2)  # else a class held out in part would be one image, without any spread
    fold = folds(targets)
    judged = counts[targets] > 1  # an image alone in its class has no class while it is held out
    parts = [(fold == k, _scatter(reduced[fold != k], targets[fold != k], n_classes, within)) for k in range(FOLDS)]
    best = None
    for shrinkage in SHRINKAGES:
        scores = torch.zeros(len(targets), n_classes, dtype=torch.float64)
        for held_out, scatter in parts:
            scores[held_out] = _scores(reduced[held_out], *_discriminant(scatter, shrinkage, features.shape[1]))
        loss, scale = _scale(scores[judged], targets[judged], counts)
        if best is None or loss < best[0]:
            wrong = (scores * scale + _log_prior(counts)).argmax(1) != targets
            best = loss, shrinkage, scale, wrong.double().mean().item()
    assert best is not None
    loss, shrinkage, scale, error_rate = best
    weight, bias = _discriminant(_scatter(reduced, targets, n_classes, within), shrinkage, features.shape[1])
    weight, bias = scale * (weight @ basis.T), scale * bias
    bias = bias - weight @ centre + _log_prior(counts)
    return LinearHead(weight.float(), bias.float(), shrinkage, error_rate, loss)


def folds(targets: Tensor) -> Tensor:
    """The part, 0 to ``FOLDS - 1``, that each image is held out in: (N,). The images of a class take turns."""
    part = torch.empty_like(targets)
    for members in _members(targets):
        part[members] = torch.arange(len(members)) % FOLDS
    return part


def _members(targets: Tensor) -> Iterator[Tensor]:
    order = targets.argsort(stable=True)
    yield from order.split(torch.bincount(targets).tolist())


def _reduce(x: Tensor) -> tuple[Tensor, Tensor]:
    """The features in the at most N dimensions they span, and the (F, D) basis; means lie in it, so nothing is lost."""
    n, d = x.shape
    if d <= n:
        return x, torch.eye(d, dtype=x.dtype)
    basis = torch.linalg.qr(x.T).Q
    return x @ basis, basis


def _scatter(x: Tensor, targets: Tensor, n_classes: int, within: bool) -> _Scatter:
    counts = torch.bincount(targets, minlength=n_classes)
    sums = torch.zeros(n_classes, x.shape[1], dtype=x.dtype).index_add_(0, targets, x)
    means = sums / counts.clamp(min=1)[:, None]
    rest = x - means[targets] if within else x
    freedom = len(x) - (int((counts > 0).sum()) if within else 1)
    return _Scatter(means, counts, rest.T @ rest / max(1, freedom))


def _discriminant(s: _Scatter, shrinkage: float, n_features: int) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) before scale and prior; minus infinity for a class without images."""
    weight = _solve(s.within, s.means.T, shrinkage, n_features).T
    bias = -0.5 * (s.means * weight).sum(1)
    return weight, bias.masked_fill(s.counts == 0, -torch.inf)


def _solve(covariance: Tensor, right: Tensor, shrinkage: float, n_features: int) -> Tensor:
    """``right`` (D, C) by the inverse of the shrunk covariance; ``n_features``: D before it was reduced."""
    shrunk = (1 - shrinkage) * covariance
    shrunk.diagonal().add_(shrinkage * covariance.trace() / n_features + torch.finfo(torch.float32).tiny)
    return torch.cholesky_solve(right, torch.linalg.cholesky(shrunk))


def _scores(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight.T + bias


def _log_prior(counts: Tensor) -> Tensor:
    return (counts.clamp(min=1).double() / counts.sum()).log()


def _scale(scores: Tensor, targets: Tensor, counts: Tensor) -> tuple[float, float]:
    """The lowest cross-entropy, and the number to multiply the scores with for it."""
    prior = _log_prior(counts)
    scores = scores.clamp(min=-1e30)  # zero times minus infinity is not a number

    def loss(log_scale: float) -> float:
        return F.cross_entropy(scores * torch.tensor(log_scale).exp() + prior, targets).item()

    found = minimize_scalar(loss, bounds=(-12.0, 3.0), method="bounded")
    return float(found.fun), float(torch.tensor(found.x).exp())


def fit_labels(features: Tensor, targets: Tensor) -> LinearHead:
    """The linear head for features (N, F) and 0/1 targets (N, C) of images with several labels.

    Least squares with a shrunk covariance, which for one label is the direction of the discriminant analysis of
    ``fit``; then each label's scores are made into logits (Platt 1999) by the scores of held-out images.
    """
    y, n_features = targets.double(), features.shape[1]
    centre = features.double().mean(0)
    reduced, basis = _reduce(features.double() - centre)
    fold = torch.arange(len(y)) % FOLDS
    best = None
    for shrinkage in SHRINKAGES:
        scores = torch.zeros_like(y)
        for k in range(FOLDS):
            weight, bias = _least_squares(reduced[fold != k], y[fold != k], shrinkage, n_features)
            scores[fold == k] = _scores(reduced[fold == k], weight, bias)
        slopes, offsets = _platt(scores, y)
        logits = scores * slopes + offsets
        loss = F.binary_cross_entropy_with_logits(logits, y).item()
        if best is None or loss < best[0]:
            best = loss, shrinkage, slopes, offsets, ((logits > 0) != y.bool()).double().mean().item()
    assert best is not None
    loss, shrinkage, slopes, offsets, error_rate = best
    weight, bias = _least_squares(reduced, y, shrinkage, n_features)
    weight, bias = slopes[:, None] * (weight @ basis.T), slopes * bias + offsets
    return LinearHead(weight.float(), (bias - weight @ centre).float(), shrinkage, error_rate, loss)


def _least_squares(x: Tensor, y: Tensor, shrinkage: float, n_features: int) -> tuple[Tensor, Tensor]:
    mean, share = x.mean(0), y.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    weight = _solve(covariance, (x - mean).T @ (y - share) / len(x), shrinkage, n_features).T
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
