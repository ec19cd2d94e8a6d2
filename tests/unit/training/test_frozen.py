"""Where the backward pass of a frozen phase ends."""

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
