"""From the probe's rule towards logistic regression, as far as images held out are surely better off.

Discriminant analysis needs few images, for it assumes much: classes that are normal with a common covariance. Logistic
regression assumes less and needs more, and with many images a class it ends lower (Ng & Jordan 2001, *On Discriminative
vs. Generative Classifiers*). Between the two is a logistic regression that a Gaussian prior holds to the rule.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from imgclf.data.folds import PARTS as FOLDS
from imgclf.training.covariance import reduce, root, scatter
from imgclf.training.probe import LinearHead

PULLS = (1.0, 0.3, 0.1, 0.03, 0.01)  # how much a weight on whitened features is held to the rule's
SURE = 3.0  # standard errors between the losses of held-out images, or it may be chance
# Images times features times classes (fewer than 32 are no quicker): above it, minutes on two cores.
MOST = 10**9


def refine(head: LinearHead, features: Tensor, targets: Tensor) -> LinearHead:
    """A better head than that of ``probe.fit`` for features (N, F) and class indices (N,), or the same.

    A logistic regression held to the rule by one of ``PULLS``: that with the lowest cross-validated loss, of those
    below the rule's by more than ``SURE`` standard errors with no more images wrong. Where there is none the head is as
    it was, and so it is with more than ``MOST`` numbers to go through. ``others`` stay those of the rule.
    """
    n, n_features = features.shape
    if n * n_features * max(len(head.bias), 32) > MOST:
        return head
    others, fold = head.others, head.others.fold
    rule = torch.zeros(n, len(head.bias))
    held_out = torch.zeros(len(PULLS), *rule.shape)
    for k in range(FOLDS):
        out = fold == k
        if not out.any():
            continue
        x, y = features[~out], targets[~out]
        # A class that is held out as a whole is none of those to tell apart.
        bias = others.bias[k].masked_fill(torch.bincount(y, minlength=len(head.bias)) == 0, -torch.inf)
        rule[out] = features[out] @ others.weight[k].T + bias
        for i, (weight, more) in enumerate(_path(x, y, others.weight[k], bias, head.shrinkage, PULLS)):
            held_out[i, out] = rule[out] + features[out] @ weight.T + more
    judged = rule[torch.arange(n), targets].isfinite()  # while all of its class is held out, an image has no answer

    def losses(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits[judged], targets[judged], reduction="none")

    def wrong(logits: Tensor) -> int:
        return int((logits.argmax(1) != targets).sum())

    before, best = losses(rule), None
    for i, logits in enumerate(held_out):
        after = losses(logits)
        gain = before - after
        sure = gain.mean() > SURE * gain.std(correction=0) / len(gain) ** 0.5 and wrong(logits) <= wrong(rule)
        if sure and (best is None or after.mean() < losses(held_out[best]).mean()):
            best = i
    if best is None:
        return head
    weight, bias = _path(features, targets, head.weight, head.bias, head.shrinkage, PULLS[: best + 1])[-1]
    return replace(
        head,
        weight=head.weight + weight,
        bias=head.bias + bias,
        error_rate=wrong(held_out[best]) / n,
        loss=losses(held_out[best]).mean().item(),
        pull=PULLS[best],
    )


def _path(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, shrinkage: float, pulls: tuple[float, ...]
) -> list[tuple[Tensor, Tensor]]:
    """What to add to weight (C, F) and bias (C,) of the rule for these images, held to it by each of ``pulls``.

    The rule's own covariance is the measure of how far a weight is from it: features are whitened by it.
    """
    given = x @ weight.T + bias
    centre = x.double().mean(0)
    reduced, basis = reduce(x.double() - centre)
    covariance = scatter(reduced, y, len(bias), bool(torch.bincount(y).max() > 1)).within
    factor = root(covariance, shrinkage, x.shape[1])
    z = torch.linalg.solve_triangular(factor, reduced.T, upper=False).T.float()
    found, change = [], (z.new_zeros(len(bias), z.shape[1]), z.new_zeros(len(bias)))
    for pull in pulls:
        change = _fitted(z, given, y, pull, *change)
        added = torch.linalg.solve_triangular(factor.T, change[0].double().T, upper=True).T @ basis.T
        found.append((added.float(), (change[1] - added @ centre).float()))
    return found


def _fitted(z: Tensor, given: Tensor, y: Tensor, pull: float, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The best change of logits ``given`` (N, C) that is linear in z (N, D), searched from ``weight`` and ``bias`` on.

    Best is the lowest sum of cross-entropy and ``pull`` times half the square of the change.
    """
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    steps = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        steps.zero_grad()
        held = pull / 2 * (weight.square().sum() + bias.square().sum())
        found = F.cross_entropy(given + z @ weight.T + bias, y) + held
        found.backward()
        return found

    steps.step(loss)
    return weight.detach(), bias.detach()
