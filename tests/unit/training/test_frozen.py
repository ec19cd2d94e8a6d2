"""Where the backward pass ends: in a frozen phase, and after the probe."""

import pytest
import shapes

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.workflow import session

SMALL = {
    "data.batch_size": 4, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "model.arch": "resnet18",
    "model.pretrained": False, "train.recipe": "book", "train.epochs": 1, "train.precision": "fp32",
    "train.device": "cpu", "train.lr": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("frozen"), per_class=3)


@pytest.mark.parametrize(("freeze_to", "first"), [("auto", 6), (0, 0), (-1, 8)])
def test_after_the_probe_the_backward_pass_ends_at_the_first_layer_that_trains(folder, freeze_to, first):
    given = {"data.path": str(folder / "images"), "model.weights": str(folder / "weights.pth")}
    recipe = {"train.recipe": "auto", "model.pretrained": True, "train.freeze_to": freeze_to}
    s = session.start(load_config(**{**SMALL, **recipe}, **given), Terminal(quiet=True))
    learn = s.learn
    learn.freeze_to(s.plan(1e-3).phases[-1].freeze_to)
    x, y = learn.dls.train.one_batch()
    body, head = learn.model.eval()
    before = body[:first](x)
    learn.loss_func(head(body[first:](before)), y).backward()
    assert not before.requires_grad  # nothing of it is kept for a backward pass
    assert all(p.grad is None for p in body[:first].parameters())
    assert all(p.grad is not None for p in [*body[first:].parameters(), *head.parameters()])
    assert any(line.startswith("layers: ") and "train.freeze_to" in line for line in s.decisions)


@pytest.mark.parametrize("train_bn", [False, True])
def test_with_train_bn_false_the_backward_pass_of_a_frozen_phase_stops_at_the_head(tmp_path, train_bn):
    shapes.write(tmp_path, per_class=3)
    cfg = load_config(**SMALL, **{"data.path": str(tmp_path), "train.train_bn": train_bn})
    s = session.start(cfg, Terminal(quiet=True))
    learn, phase = s.learn, s.plan(1e-3).phases[0]
    learn.freeze_to(phase.freeze_to)
    body, head = learn.model.train()
    x, y = learn.dls.train.one_batch()
    features = body(x)
    learn.loss_func(head(features), y).backward()
    assert phase.name == "frozen"
    assert features.requires_grad == train_bn  # false: nothing of the body is kept for a backward pass
    assert all(p.grad is not None for p in head.parameters())
    learning = {type(m).__name__ for m in body.modules() for p in m.parameters(recurse=False) if p.grad is not None}
    assert learning == ({"BatchNorm2d"} if train_bn else set())
