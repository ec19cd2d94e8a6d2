import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from imgclf.training import probe

PER_CLASS = 12


def blobs(n_classes: int = 3, n_features: int = 5, each: int = PER_CLASS, apart: float = 2.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n_classes).repeat(each)
    middles = apart * torch.randn(n_classes, n_features, generator=generator)
    stretch = torch.linspace(0.3, 3.0, n_features)
    return middles[targets] + stretch * torch.randn(len(targets), n_features, generator=generator), targets


@pytest.mark.parametrize("n_features", [5, 100], ids=["more images", "more features"])
def test_direction_is_that_of_scikit_learn(n_features, monkeypatch):
    x, y = blobs(n_features=n_features)
    monkeypatch.setattr(probe, "SHRINKAGES", (0.6,))
    head = probe.fit(x, y, 3)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.6).fit(x.double().numpy(), y.numpy())
    # Differences between classes are what a softmax sees; ours are theirs times one number.
    ours, other = (head.weight - head.weight[0])[1:].numpy(), (theirs.coef_ - theirs.coef_[0])[1:]
    ratio = ours / other
    # scikit-learn divides the covariance by N, we by N - C: a number too, because shrinkage is in proportion.
    np.testing.assert_allclose(ratio, np.full_like(ratio, ratio.mean()), rtol=2e-4)
    assert (theirs.predict(x.numpy()) == (x @ head.weight.T + head.bias).argmax(1).numpy()).mean() > 0.95


def test_a_class_of_few_images_is_answered_as_often_as_it_is_there():
    """Its mean is that of few images, and so too long; without a correction it would be answered 492 times."""
    generator = torch.Generator().manual_seed(3)
    middles = torch.randn(4, 100, generator=generator) * 0.5

    def drawn(counts):
        y = torch.arange(4).repeat_interleave(torch.tensor(counts))
        return middles[y] + torch.randn(len(y), 100, generator=generator), y

    (x, y), (new, theirs) = drawn([60, 60, 60, 6]), drawn([6000, 6000, 6000, 600])
    head = probe.fit(x, y, 4)
    found = (new @ head.weight.T + head.bias).argmax(1)
    assert abs(int((found == 3).sum()) - 600) < 40
    assert (found[theirs == 3] == 3).double().mean() > 0.85


def test_classes_far_apart_are_found_and_sure():
    x, y = blobs(apart=30.0)
    head = probe.fit(x, y, 3)
    assert head.error_rate == 0
    assert ((x @ head.weight.T + head.bias).softmax(1)[torch.arange(len(y)), y] > 0.99).all()


def test_features_that_say_nothing_give_the_shares_of_the_classes():
    x = torch.randn(300, 10, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0] * 240 + [1] * 60)
    probs = (x @ probe.fit(x, y, 2).weight.T + probe.fit(x, y, 2).bias).softmax(1)
    assert probs[:, 0].mean() == pytest.approx(0.8, abs=0.03)


def test_loss_is_that_of_images_held_out():
    x, y = blobs(n_features=200, apart=0.2)  # can be learned by heart, and is not worth it
    head = probe.fit(x, y, 3)
    on_training = torch.nn.functional.cross_entropy(x @ head.weight.T + head.bias, y).item()
    assert head.loss > on_training + 0.1
    assert head.error_rate > 0.3


@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 2, 5], [3, 1, 1]])
def test_few_images_a_class(counts):
    x, _ = blobs(each=5, apart=10.0)
    y = torch.cat([torch.full((n,), i) for i, n in enumerate(counts)])
    x = torch.cat([x[i::3][:n] for i, n in enumerate(counts)])
    head = probe.fit(x, y, 3)
    assert torch.isfinite(head.weight).all() and torch.isfinite(head.bias).all() and np.isfinite(head.loss)
    assert ((x @ head.weight.T + head.bias).argmax(1) == y).all()


def test_one_image_a_class_cannot_be_cross_validated():
    assert probe.fit(torch.randn(3, 4), torch.tensor([0, 1, 2]), 3) is None


def test_features_without_any_spread():
    head = probe.fit(torch.ones(8, 4), torch.tensor([0, 1] * 4), 2)
    assert torch.isfinite(head.weight).all() and head.loss == pytest.approx(np.log(2), abs=1e-3)


def test_pictures_of_the_same_thing_are_not_judged_by_each_other():
    """Twenty things in three classes, ten pictures of each: a thing is far from the others of its class."""
    torch.manual_seed(0)
    things = torch.randn(60, 12) * 3 + torch.eye(3, 12).repeat_interleave(20, 0)
    x, y = things.repeat_interleave(10, 0), torch.arange(3).repeat_interleave(200)
    x, thing = x + torch.randn_like(x) * 0.1, np.arange(60).repeat(10)
    mixed = torch.cat([torch.randperm(200) + 200 * c for c in range(3)])  # in order, neighbours are of a thing already
    x, thing = x[mixed], thing[mixed.numpy()]
    new = torch.randn(600, 12) * 3 + torch.eye(3, 12).repeat_interleave(200, 0)
    parted, whole = probe.fit(x, y, 3), probe.fit(x, y, 3, thing)
    on_new = [F.cross_entropy(new @ head.weight.T + head.bias, y).item() for head in (parted, whole)]
    assert on_new[1] < on_new[0]
    assert abs(whole.loss - on_new[1]) < abs(parted.loss - on_new[0])
    assert all(len(whole.others.fold[torch.from_numpy(thing == t)].unique()) == 1 for t in range(60))
    assert probe.held_out_loss(x, y, 3, thing) == pytest.approx(whole.loss)
    both = F.one_hot(y)
    alone, grouped = probe.fit_labels(x, both), probe.fit_labels(x, both, thing)
    assert alone.loss < grouped.loss == pytest.approx(probe.held_out_loss(x, both, 3, thing))


def test_a_class_in_one_group_is_held_out_as_a_whole():
    x, y = blobs()
    groups = np.where(y.numpy() == 2, 0, np.arange(len(y)) + 1)
    head = probe.fit(x, y, 3, groups)
    assert np.isfinite(head.loss) and torch.isfinite(head.others.bias).all()
    assert ((x @ head.weight.T + head.bias).argmax(1) == y).double().mean() > 0.9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=25), st.booleans())
def test_any_classes_in_any_groups(images, several):
    """Few images, groups across classes, classes in one group alone: there is a head, or a word that there is none."""
    y, groups = (np.array(numbers) for numbers in zip(*images, strict=True))
    y = torch.from_numpy(y)
    x = torch.randn(len(y), 6, generator=torch.Generator().manual_seed(0))
    head = probe.fit_labels(x, F.one_hot(y, 5), groups) if several else probe.fit(x, y, 4, groups)
    if head is None:
        assert torch.bincount(y).max() < 2
        return
    there = torch.bincount(y, minlength=head.bias.shape[0]) > 0
    assert np.isfinite(head.loss) and torch.isfinite(head.bias[there]).all()
    assert torch.isfinite(head.others.bias[:, there]).all()


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(3)), st.floats(0.1, 100), st.floats(-50, 50))
def test_order_of_classes_scale_and_place_of_features_do_not_matter(order, scale, shift):
    x, y = blobs()
    renamed = torch.tensor(order)[y]
    a, b = probe.fit(x, y, 3), probe.fit(x * scale + shift, renamed, 3)
    ours = x @ a.weight.T + a.bias
    theirs = (x * scale + shift) @ b.weight.T + b.bias
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1)[:, list(order)], atol=2e-2, rtol=0)


def test_several_labels():
    x, y = blobs(apart=3.0, each=40)
    both = torch.stack([y == 0, y == 1, y >= 0, y > 5], 1).long()  # the third on all images, the last on none
    head = probe.fit_labels(x, both)
    probs = (x @ head.weight.T + head.bias).sigmoid()
    assert ((probs > 0.5) == both.bool()).float().mean() > 0.9
    assert head.error_rate < 0.1
    torch.testing.assert_close(probs[:, 2].mean(), torch.tensor(1.0), atol=0.01, rtol=0)
    torch.testing.assert_close(probs[:, 3].mean(), torch.tensor(0.0), atol=0.01, rtol=0)


def test_labels_are_as_sure_as_they_are_right():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 4, generator=generator)
    y = (torch.rand(2000, generator=generator) < (2 * x[:, 0] - 1).sigmoid()).long()[:, None]
    head = probe.fit_labels(x, y)
    assert head.weight[0, 0].item() == pytest.approx(2.0, abs=0.3)
    assert head.bias.item() == pytest.approx(-1.0, abs=0.2)


def test_an_image_is_judged_by_the_others_alone():
    """A label that is wrong changes what other images are told, and never what the image itself is told."""
    x, y = blobs(apart=3.0, each=20)
    noisy = y.clone()
    noisy[7] = (y[7] + 1) % 3
    probs = probe.out_of_fold(x, noisy, 3)
    assert probs.sum(1).numpy() == pytest.approx(np.ones(len(y)))
    assert probs[7, noisy[7]] < 0.1 < 0.8 < probs[7, y[7]]
    head = probe.fit(x, noisy, 3)
    assert (probs.argmax(1) != noisy).double().mean().item() == pytest.approx(head.error_rate)
    given = probs[torch.arange(len(y)), noisy]
    assert -given.log().mean().item() == pytest.approx(head.loss, rel=1e-6)


def test_of_several_labels_each_decision_is_judged_by_the_other_images():
    x, y = blobs(apart=3.0, each=20)
    targets = torch.nn.functional.one_hot(y, 3)
    targets[7] = 1 - targets[7]
    probs = probe.out_of_fold(x, targets, 3)
    assert probs.shape == (60, 3)
    assert probs[7, y[7]] > 0.5
    sure = torch.where(targets > 0, probs, 1 - probs)
    assert sure.amin(1).argmin() == 7
    head = probe.fit_labels(x, targets)
    assert -sure.log().mean().item() == pytest.approx(head.loss, rel=1e-6)


def test_nothing_to_judge_by():
    assert probe.out_of_fold(torch.randn(3, 4), torch.arange(3), 3) is None
    probs = probe.out_of_fold(torch.randn(5, 4), torch.tensor([0, 0, 0, 0, 1]), 2)
    assert probs[4, 1] == 0


def in_turn(head, x):
    """The logits (N, C) that the heads of the cross-validation give the images each was fitted without."""
    others = head.others
    return torch.stack([others.weight[k] @ row + others.bias[k] for row, k in zip(x, others.fold, strict=True)])


def test_the_other_heads_answer_as_the_cross_validation_did():
    x, y = blobs(n_features=60, apart=0.5)
    head = probe.fit(x, y, 3)
    logits = in_turn(head, x)
    assert torch.nn.functional.cross_entropy(logits, y).item() == pytest.approx(head.loss, rel=1e-3)
    assert (logits.argmax(1) != y).float().mean() == pytest.approx(head.error_rate, abs=0.03)
    torch.testing.assert_close(logits.softmax(1), probe.out_of_fold(x, y, 3).float(), atol=2e-3, rtol=0)


def test_the_other_heads_of_several_labels_answer_as_the_cross_validation_did():
    x, classes = blobs(n_features=30, apart=0.7, each=20)
    y = torch.nn.functional.one_hot(classes, 3)
    y[::4, 0] = 1
    head = probe.fit_labels(x, y)
    logits = in_turn(head, x)
    assert torch.nn.functional.binary_cross_entropy_with_logits(logits, y.float()).item() == pytest.approx(
        head.loss, rel=1e-3
    )
    torch.testing.assert_close(logits.sigmoid(), probe.out_of_fold(x, y, y.shape[1]).float(), atol=2e-3, rtol=0)


def test_an_image_alone_in_its_class_is_answered_by_the_whole_head():
    x, _ = blobs(each=5, apart=10.0)
    y = torch.tensor([0] * 7 + [1] * 7 + [2])
    head = probe.fit(x, y, 3)
    others = head.others
    assert torch.isfinite(others.weight).all() and torch.isfinite(others.bias).all()
    k = others.fold[-1]
    assert torch.equal(others.weight[k, 2], head.weight[2]) and others.bias[k, 2] == head.bias[2]
    assert not torch.equal(others.weight[k - 1, 2], head.weight[2])
