"""FusedAdam beside fastai's Adam."""

import copy
from typing import Any

import pytest
import torch
from fastai.vision.all import Adam
from torch import nn

from imgclf.config import load_config
from imgclf.training import optimizers
from imgclf.training.optimizers import FusedAdam

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    """Without a bias before BatchNorm: its gradient is nothing but rounding, which Adam makes steps of."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5))


def optimizer(kind: Any, net: nn.Sequential) -> Any:
    """Two groups; the weights of BatchNorm do not decay."""
    made = kind([list(net[:2].parameters()), list(net[2:].parameters())], lr=1e-2, wd=0.1)
    for parameter in net[1].parameters():
        made.state[parameter]["do_wd"] = False
    return made


def train(net: nn.Sequential, opt: Any, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for i in range(steps):
        x, y = torch.randn(6, 3, 8, 8, generator=generator), torch.randint(5, (6,), generator=generator)
        opt.set_hyper("lr", slice(1e-4 * (i + 1), 1e-3 * (i + 1)))
        opt.set_hyper("mom", 0.95 - 0.02 * i)
        nn.functional.cross_entropy(net(x), y).backward()
        opt.step()
        opt.zero_grad()


def assert_close(found: nn.Module, expected: nn.Module) -> None:
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.fixture
def pair() -> list[tuple[nn.Sequential, Any]]:
    net = network()
    twin = copy.deepcopy(net)
    return [(net, optimizer(FusedAdam, net)), (twin, optimizer(Adam, twin))]


def test_steps_are_those_of_fastai(pair: Any) -> None:
    for net, opt in pair:
        before = copy.deepcopy(net)
        train(net, opt, 5)
        assert not torch.allclose(before[0].weight, net[0].weight, atol=1e-3)
    assert_close(pair[0][0], pair[1][0])


def test_defaults_are_those_of_fastai(pair: Any) -> None:
    (_, fused), (_, adam) = pair
    assert list(fused.hypers) == list(adam.hypers)


def test_a_frozen_group_stays_and_a_cleared_state_begins_again(pair: Any) -> None:
    for net, opt in pair:
        opt.freeze_to(1)
        before = net[0].weight.clone()
        train(net, opt, 2)
        assert torch.equal(net[0].weight, before)
        opt.unfreeze()
        opt.clear_state()
        assert opt.state[net[1].weight] == {"do_wd": False}
        train(net, opt, 2, seed=1)
    assert_close(pair[0][0], pair[1][0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_state_put_back_goes_on_bit_for_bit(pair: Any, layout: torch.memory_format) -> None:
    net, opt = pair[0]
    net.to(memory_format=layout)
    train(net, opt, 2)
    twin = copy.deepcopy(net)
    other = optimizer(FusedAdam, twin)
    saved = copy.deepcopy(opt.state_dict())
    for state in saved["state"]:  # as a checkpoint has them
        state.update({name: state[name].contiguous() for name in optimizers.MOMENTS})
    other.load_state_dict(saved)
    train(net, opt, 2, seed=1)
    train(twin, other, 2, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))


def test_steps_are_those_of_fastai_in_channels_last_too(pair: Any) -> None:
    for net, opt in pair:
        train(net.to(memory_format=torch.channels_last), opt, 3)
    assert_close(pair[0][0], pair[1][0])


@pytest.mark.parametrize(
    ("name", "recipe", "expected"),
    [("adam", "auto", FusedAdam), ("adam", "book", Adam), ("sgd", "auto", optimizers.SGD)],
)
def test_the_recipe_of_the_book_keeps_fastais_adam(name: str, recipe: str, expected: object) -> None:
    cfg = load_config(**{"data.path": "x", "train.opt": name, "train.recipe": recipe})
    assert optimizers.optimizer(cfg, CPU) is expected


def test_a_device_without_the_kernel_keeps_fastais() -> None:
    assert optimizers.optimizer(load_config(**{"data.path": "x"}), torch.device("meta")) is Adam
