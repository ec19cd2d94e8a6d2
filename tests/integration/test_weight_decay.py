"""Weight decay reaches every weight that it is for, by exactly its part of the learning rate."""

import pytest
import shapes
import torch

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.workflow import session

LR, WD = 0.01, 0.5


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("decay") / "images", per_class=4)


def stepped(images, **settings) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The parameters before and after one step of plain SGD with a gradient of zero."""
    cfg = load_config(
        **{
            "data.path": str(images), "data.workers": 0, "augment.presize": 16, "augment.size": 16,
            "model.arch": "resnet18", "model.pretrained": False, "train.device": "cpu", "train.opt": "sgd", **settings,
        }
    )  # fmt: skip
    learn = session.start(cfg, Terminal(quiet=True)).learn
    learn.create_opt()
    learn.opt.set_hypers(lr=LR, wd=learn.wd)  # as fit does
    learn.unfreeze()
    named = dict(learn.model.named_parameters())
    before = {name: p.detach().clone() for name, p in named.items()}
    for p in named.values():
        p.grad = torch.zeros_like(p)
    learn.opt.step()
    return before, {name: p.detach() for name, p in named.items()}


@pytest.mark.parametrize("on_norms", [False, True])
def test_weights_shrink_by_rate_times_decay(images, on_norms):
    before, after = stepped(images, **{"train.wd": WD, "train.wd_bn_bias": on_norms})
    shrunk = {name for name, p in before.items() if not torch.equal(p, after[name])}
    for name in shrunk:
        assert torch.allclose(after[name], before[name] * (1 - LR * WD), rtol=1e-5, atol=0)
    of_norms = {name for name, p in before.items() if p.ndim == 1 and bool(p.any())}  # a bias of zero stays zero
    weights = {name for name, p in before.items() if p.ndim > 1}
    assert len(weights) > 20 and len(of_norms) >= 20
    assert shrunk == (weights | of_norms if on_norms else weights)


def test_without_decay_nothing_shrinks(images):
    before, after = stepped(images, **{"train.wd": 0.0})
    assert all(torch.equal(p, after[name]) for name, p in before.items())
