"""Every loss against its formula in NumPy, its gradient against differences, and what fastai asks of a loss."""

import numpy as np
import pytest
import torch
from fastai.losses import CrossEntropyLossFlat, FocalLossFlat, LabelSmoothingCrossEntropyFlat
from scipy.special import expit, log_softmax, softmax

from imgclf.errors import ConfigError
from imgclf.training.losses import LOSSES, MULTI_LABEL, SINGLE_LABEL, Knobs, class_weights, loss_func

N, C = 7, 4
CLASSES = [*"abcd"]
EPS, GAMMA = 0.2, 1.5
WEIGHTS = np.array([1.0, 0.5, 3.0, 2.0])
LOGITS = np.random.default_rng(0).normal(0, 2, (N, C))
TARGETS = np.array([0, 1, 2, 3, 0, 1, 2])
ONE_HOT = np.eye(C)[TARGETS]
ROWS = np.random.default_rng(1).integers(0, 2, (N, C))

P, LOG_P = softmax(LOGITS, 1), log_softmax(LOGITS, 1)
TRUE = np.arange(N), TARGETS
CROSS_ENTROPY = -LOG_P[TRUE]
BINARY = -(ONE_HOT * np.log(expit(LOGITS)) + (1 - ONE_HOT) * np.log(expit(-LOGITS)))
EACH = {
    "cross_entropy": CROSS_ENTROPY,
    "focal": (1 - P[TRUE]) ** GAMMA * CROSS_ENTROPY,
    "bce": BINARY.sum(1),
    "mse": ((P - ONE_HOT) ** 2).mean(1),
    "mae": np.abs(P - ONE_HOT).mean(1),
}


def made(name, table=SINGLE_LABEL, weight=None):
    weight = None if weight is None else torch.tensor(weight, dtype=torch.float32)
    return table[name](Knobs(EPS, GAMMA), weight)


def logits_tensor(logits=LOGITS, **more):
    return torch.tensor(logits, dtype=torch.float32, **more)


def value(loss, logits=LOGITS, targets=TARGETS):
    return float(loss(logits_tensor(logits), torch.tensor(targets)))


@pytest.mark.parametrize("name", EACH)
def test_the_formula(name):
    assert value(made(name)) == pytest.approx(EACH[name].mean(), rel=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_class_weights_weigh_the_mean(name):
    w = WEIGHTS[TARGETS]
    assert value(made(name, weight=WEIGHTS)) == pytest.approx((w * EACH[name]).sum() / w.sum(), rel=1e-5)


def test_label_smoothing_spreads_a_part_of_the_target():
    target = (1 - EPS) * ONE_HOT + EPS / C
    assert value(made("label_smoothing")) == pytest.approx(-(target * LOG_P).sum(1).mean(), rel=1e-5)
    w = WEIGHTS[TARGETS].sum()
    weighted = -(target * WEIGHTS * LOG_P).sum() / w
    assert value(made("label_smoothing", weight=WEIGHTS)) == pytest.approx(weighted, rel=1e-5)


def test_without_weights_they_are_fastais_own():
    x, y = logits_tensor(), torch.tensor(TARGETS)
    for name, theirs in {
        "cross_entropy": CrossEntropyLossFlat(),
        "label_smoothing": LabelSmoothingCrossEntropyFlat(eps=EPS),
        "focal": FocalLossFlat(gamma=GAMMA),
    }.items():
        assert float(made(name)(x, y)) == pytest.approx(float(theirs(x, y)), rel=1e-5), name


@pytest.mark.parametrize("name", SINGLE_LABEL)
def test_reduction_none_gives_a_loss_per_image(name):
    """MixUp and CutMix ask for it."""
    loss = made(name)
    mean = value(loss)
    loss.reduction = "none"
    each = loss(logits_tensor(), torch.tensor(TARGETS))
    assert tuple(each.shape) == (N,)
    assert float(each.mean()) == pytest.approx(mean, rel=1e-5)
    assert loss.y_int


@pytest.mark.parametrize(
    ("task", "name", "weight"),
    [(task, name, w) for task, table in LOSSES.items() for name in table for w in (None, WEIGHTS)],
)
def test_the_gradient_is_the_slope(task, name, weight):
    loss, targets = made(name, LOSSES[task], weight), TARGETS if task == "single" else ROWS
    x = logits_tensor(requires_grad=True)
    loss(x, torch.tensor(targets)).backward()
    step = 1e-2
    for n, c in [(0, 0), (1, 3), (5, 1)]:
        bump = np.zeros_like(LOGITS)
        bump[n, c] = step
        slope = (value(loss, LOGITS + bump, targets) - value(loss, LOGITS - bump, targets)) / (2 * step)
        assert float(x.grad[n, c]) == pytest.approx(slope, abs=1e-4)


def test_the_gradient_of_cross_entropy_is_probability_minus_target():
    x = logits_tensor(requires_grad=True)
    made("cross_entropy")(x, torch.tensor(TARGETS)).backward()
    np.testing.assert_allclose(x.grad.numpy() * N, P - ONE_HOT, atol=1e-6)


def test_several_labels():
    each = -(WEIGHTS * ROWS * np.log(expit(LOGITS)) + (1 - ROWS) * np.log(expit(-LOGITS)))
    assert value(made("bce", MULTI_LABEL, WEIGHTS), targets=ROWS) == pytest.approx(each.mean(), rel=1e-5)
    right = np.where(ROWS, expit(LOGITS), expit(-LOGITS))
    focal = -((1 - right) ** GAMMA) * np.log(right)
    assert value(made("focal", MULTI_LABEL), targets=ROWS) == pytest.approx(focal.mean(), rel=1e-5)
    weighted = focal * np.where(ROWS, WEIGHTS, 1)
    assert value(made("focal", MULTI_LABEL, WEIGHTS), targets=ROWS) == pytest.approx(weighted.mean(), rel=1e-5)


@pytest.mark.parametrize("name", SINGLE_LABEL)
def test_one_label_is_softmax_and_the_largest(name):
    """Whatever is trained with: metrics, evaluation and exports read the activations the same way."""
    x, loss = logits_tensor(), made(name)
    np.testing.assert_allclose(loss.activation(x).numpy(), P, rtol=1e-5)
    assert loss.decodes(x).tolist() == LOGITS.argmax(1).tolist()


@pytest.mark.parametrize("name", MULTI_LABEL)
def test_several_labels_are_sigmoids_above_a_half(name):
    x, loss = logits_tensor(), made(name, MULTI_LABEL)
    probabilities = loss.activation(x)
    np.testing.assert_allclose(probabilities.numpy(), expit(LOGITS), rtol=1e-5)
    assert loss.decodes(probabilities).tolist() == (LOGITS > 0).tolist()


@pytest.mark.parametrize(("task", "name"), [("single", "cross_entropy"), ("multi", "bce")])
def test_auto_is_the_first_of_the_task(make_config, task, name):
    targets = TARGETS if task == "single" else ROWS
    found = loss_func(make_config(), CLASSES, task)
    assert value(found, targets=targets) == value(made(name, LOSSES[task]), targets=targets)


def test_a_loss_of_the_other_task_is_refused(make_config):
    with pytest.raises(ConfigError, match="'mse' is not for images with several labels") as caught:
        loss_func(make_config(**{"train.loss": "mse"}), CLASSES, "multi")
    assert "auto, bce, focal" in caught.value.hint


def test_the_knobs_come_from_the_configuration(make_config):
    smooth = make_config(**{"train.loss": "label_smoothing", "train.smoothing_eps": EPS})
    assert value(loss_func(smooth, CLASSES)) == pytest.approx(value(made("label_smoothing")))
    focal = make_config(**{"train.loss": "focal", "train.focal_gamma": GAMMA})
    assert value(loss_func(focal, CLASSES)) == pytest.approx(value(made("focal")))
    weighted = make_config(**{"train.class_weights": {"b": 0.5, "c": 3, "d": 2.0}})
    assert value(loss_func(weighted, CLASSES)) == pytest.approx(value(made("cross_entropy", weight=WEIGHTS)), rel=1e-5)


def test_weights_of_unknown_classes_are_refused():
    with pytest.raises(ConfigError, match=r"there is no class 'kat'\. Did you mean 'cat'\?") as caught:
        class_weights({"kat": 2.0}, ["cat", "dog"])
    assert "cat, dog" in caught.value.hint


@pytest.mark.parametrize("weight", [0, -1, "much"])
def test_a_weight_is_a_positive_number(make_config, weight):
    with pytest.raises(ConfigError, match=r"train\.class_weights"):
        make_config(**{"train.class_weights": {"cat": weight}})
