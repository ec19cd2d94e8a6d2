import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from imgclf.training import logistic, probe


def lopsided(n: int, seed: int = 0):
    """Three classes that a linear rule tells apart, of features that are anything but normal."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=generator).exp()
    logits = x @ torch.randn(8, 3, generator=torch.Generator().manual_seed(99)) * 2
    return x, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def answers(head, x):
    return x @ head.weight.T + head.bias


def test_many_images_of_classes_that_are_not_normal_are_told_apart_better():
    (x, y), (new, theirs) = lopsided(1500), lopsided(3000, seed=1)
    rule = probe.fit(x, y, 3)
    head = logistic.refine(rule, x, y)
    assert head.pull in logistic.PULLS and rule.pull is None
    assert F.cross_entropy(answers(head, new), theirs) < 0.9 * F.cross_entropy(answers(rule, new), theirs)
    assert (answers(head, new).argmax(1) != theirs).sum() < (answers(rule, new).argmax(1) != theirs).sum()
    assert head.loss == pytest.approx(F.cross_entropy(answers(head, new), theirs).item(), rel=0.25)


@pytest.mark.parametrize("each", [6, 40])
def test_normal_classes_keep_their_rule(each):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(each)
    x = torch.randn(3, 30, generator=generator)[y] + torch.randn(len(y), 30, generator=generator)
    head = probe.fit(x, y, 3)
    assert logistic.refine(head, x, y) is head


def test_what_would_take_long_is_left(monkeypatch):
    x, y = lopsided(900)
    head = probe.fit(x, y, 3)
    monkeypatch.setattr(logistic, "MOST", x.numel() * 32 - 1)
    assert logistic.refine(head, x, y) is head


def test_a_gain_that_costs_mistakes_is_none(monkeypatch):
    x, y = lopsided(900)
    head = probe.fit(x, y, 3)
    found = logistic._path(x, y, head.weight, head.bias, head.shrinkage, logistic.PULLS)
    # Class 0 is never the answer: the loss may fall, but more images are wrong.
    worse = [(weight, bias + torch.tensor([-1e3, 0.0, 0.0])) for weight, bias in found]
    monkeypatch.setattr(logistic, "_path", lambda *a: worse)
    monkeypatch.setattr(logistic, "SURE", -1e9)
    assert logistic.refine(head, x, y) is head


def test_fitted_is_the_regression_of_scikit_learn():
    """From nothing to go by, and with a bias that is held like every weight: a column of ones."""
    x, y = lopsided(300)
    z = (x - x.mean(0)) / x.std(0)
    ones = np.column_stack([z.numpy(), np.ones(len(z))])
    theirs = LogisticRegression(C=1 / (0.1 * len(y)), fit_intercept=False, tol=1e-8, max_iter=1000).fit(ones, y.numpy())
    weight, bias = logistic._fitted(z, torch.zeros(len(y), 3), y, 0.1, torch.zeros(3, 8), torch.zeros(3))
    np.testing.assert_allclose(np.column_stack([weight.numpy(), bias.numpy()]), theirs.coef_, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=25))
def test_any_classes_in_any_groups(images):
    """Whatever is held out as a whole, alone or in one group with everything else: all heads stay finite."""
    y, groups = (np.array(numbers) for numbers in zip(*images, strict=True))
    y = torch.from_numpy(y)
    x = torch.randn(len(y), 6, generator=torch.Generator().manual_seed(0))
    rule = probe.fit(x, y, 4, groups)
    if rule is None:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logistic, "SURE", -1e9)
        head = logistic.refine(rule, x, y)
    there = torch.bincount(y, minlength=4) > 0
    assert np.isfinite(head.loss) and torch.isfinite(head.weight).all() and torch.isfinite(head.bias[there]).all()
