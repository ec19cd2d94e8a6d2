"""BatchNorm folded into the convolution before it: the same answers, gradients and names."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from imgclf.networks import bodies, folding


def body(arch: str = "resnet18", channels: int = 3) -> nn.Module:
    """One whose BatchNorm layers do something."""
    torch.manual_seed(0)
    made = bodies.body(arch, channels)
    for norm in norms(made):
        nn.init.normal_(norm.bias)
        nn.init.uniform_(norm.weight, 0.5, 2)
        assert norm.running_mean is not None and norm.running_var is not None
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return made.eval()


def norms(made: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in made.modules() if isinstance(module, nn.BatchNorm2d)]


def images(channels: int = 3) -> torch.Tensor:
    return torch.randn(3, channels, 48, 48, generator=torch.Generator().manual_seed(1))


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("arch", bodies.BUILDERS)
def test_every_norm_of_every_resnet_has_its_convolution(arch: str) -> None:
    with torch.device("meta"):
        made = bodies.body(arch)
    found = list(folding.pairs(made))
    assert {id(norm) for _, norm in found} == {id(norm) for norm in norms(made)}
    assert all(conv.out_channels == norm.num_features for conv, norm in found)
    assert len({id(conv) for conv, _ in found}) == len(found)


@pytest.mark.parametrize("fold", [folding.fold, folding.fold_while_fixed])
@pytest.mark.parametrize(("arch", "channels"), [("resnet18", 3), ("resnet18", 1), ("resnet50", 3)])
def test_answers_are_the_same(
    fold: Callable[[nn.Module], None], arch: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_pays", lambda conv, pixels: True)
    made, x = body(arch, channels), images(channels)
    expected = made(x)
    fold(made)
    assert difference(made(x), expected) < 1e-5


def test_a_body_folded_for_good_can_be_folded_again() -> None:
    made = body()
    expected = made(images())
    folding.fold(made)
    assert not norms(made)
    folding.fold(made)
    assert difference(made(images()), expected) < 1e-5


def gradients(made: nn.Module) -> dict[str, torch.Tensor]:
    made(images().double()).square().mean().backward()
    return {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("everywhere", [True, False])
def test_in_training_with_fixed_statistics_all_gradients_are_the_same(
    everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if everywhere:
        monkeypatch.setattr(folding, "_pays", lambda conv, pixels: True)
    plain = body().double()
    folded = copy.deepcopy(plain)
    folding.fold_while_fixed(folded)
    for made in (plain, folded):
        made.train()
        for norm in norms(made):
            norm.eval()
    expected, found = gradients(plain), gradients(folded)
    assert found.keys() == expected.keys() == dict(plain.named_parameters()).keys()
    assert max(difference(found[name], expected[name]) for name in found) < 1e-9
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), folded.buffers(), strict=True))


@pytest.mark.parametrize(("side", "expected"), [(24, 0), (96, 6), (384, 11)])
def test_layers_are_folded_where_the_result_has_more_numbers_than_the_weights(side: int, expected: int) -> None:
    made, places, computed = body(), {}, []
    folding.fold_while_fixed(made)
    for conv, norm in folding.pairs(made):
        conv.register_forward_hook(lambda conv, _, answer: places.update({conv: answer[:, 0].numel()}))
        norm.register_forward_hook(lambda norm, given, answer: computed.append(answer is not given[0]))
    with torch.no_grad():
        made(torch.zeros(1, 3, side, side))
    assert computed.count(False) == sum(n >= conv.weight[0].numel() for conv, n in places.items()) == expected


def test_in_training_mode_nothing_is_folded() -> None:
    plain = body()
    folded = copy.deepcopy(plain)
    folding.fold_while_fixed(folded)
    plain.train(), folded.train()
    assert torch.equal(folded(images()), plain(images()))
    assert folded.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), folded.buffers(), strict=True))
    assert int(norms(folded)[0].num_batches_tracked) == 1


def test_a_frozen_convolution_computes_no_gradient_for_a_norm_that_trains() -> None:
    made = body()
    folding.fold_while_fixed(made)
    for conv, norm in folding.pairs(made):
        conv.requires_grad_(False)
        assert norm.weight.requires_grad
    grads = []
    conv, norm = next(folding.pairs(made))
    conv.register_forward_hook(lambda module, given, answer: grads.append(answer.requires_grad))
    with torch.enable_grad():
        answer = made(images())
    assert grads == [False]
    answer.sum().backward()
    assert norm.weight.grad is not None


def test_a_copy_has_its_own_layers() -> None:
    made = body()
    folding.fold_while_fixed(made)
    twin = copy.deepcopy(made)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert twin(images()).abs().max() == 0
    assert made(images()).abs().max() > 0


def test_other_bodies_are_left_alone() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_first = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm_first(self.norm(x))  # type: ignore[no-any-return]

    made = Other().eval()
    expected = made(images())
    folding.fold(made), folding.fold_while_fixed(made)
    assert torch.equal(made(images()), expected)
