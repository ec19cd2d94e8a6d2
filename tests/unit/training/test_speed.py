"""Memory format, compilation and deterministic kernels."""

import copy

import pytest
import torch
from torch import nn

from imgclf.errors import ConfigError, UserError
from imgclf.training import speed
from imgclf.training.devices import Hardware


class Model:
    """What ``apply`` needs of a learner."""

    def __init__(self, *layers):
        self.model, self.added = nn.Sequential(*layers), []

    def add_cb(self, callback):
        self.added.append(type(callback).__name__)


@pytest.fixture
def _restored():
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def hardware(precision="fp32", device="cpu"):
    return Hardware(torch.device(device), precision, "test")


@pytest.mark.parametrize(
    ("wanted", "device", "precision", "size", "expected"),
    [
        ("auto", "cpu", "bf16", 64, True),
        ("auto", "cpu", "fp32", 127, False),
        ("auto", "cpu", "fp32", 128, True),
        ("auto", "cuda", "bf16", 224, True),
        ("auto", "cuda", "fp16", 32, True),
        ("auto", "cuda", "fp32", 224, False),
        (True, "cpu", "fp32", 64, True),
        (False, "cpu", "bf16", 224, False),
    ],
)
def test_channels_last_where_asked_or_measured(make_config, wanted, device, precision, size, expected):
    cfg, learn = make_config(**{"train.channels_last": wanted}), Model(nn.Identity())
    notes = speed.apply(cfg, learn, hardware(precision, device), size)
    assert learn.added == ["ChannelsLast"] * expected
    assert len(notes) == expected


@pytest.mark.parametrize(
    ("device", "compiled", "folds"), [("cpu", False, True), ("cpu", True, False), ("cuda", False, False)]
)
def test_batchnorm_is_folded_where_that_was_measured(make_config, monkeypatch, device, compiled, folds):
    monkeypatch.setattr(speed, "check_compiler", lambda device: None)
    learn = Model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    conv, norm = learn.model[0]
    speed.apply(make_config(**{"train.compile": compiled}), learn, hardware(device=device), 32)
    norm.eval()
    nn.init.constant_(norm.bias, 7)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    assert torch.all(conv(torch.ones(1, 3, 2, 2)) == (7 if folds else 0))


def test_nothing_is_done_unasked(make_config):
    learn = Model(nn.Linear(2, 2))
    assert speed.apply(make_config(), learn, hardware(), 32) == []
    assert learn.model._compiled_call_impl is None
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.usefixtures("_restored")
def test_deterministic_is_for_torch_to_keep(make_config):
    speed.apply(make_config(**{"train.deterministic": True}), Model(nn.Linear(2, 2)), hardware(), 32)
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.usefixtures("_restored")
def test_max_pooling_has_no_deterministic_gradient_on_cuda():
    with pytest.raises(UserError, match="adaptive max pooling on CUDA") as e:
        speed.be_deterministic(nn.Sequential(nn.AdaptiveMaxPool2d(1)), torch.device("cuda"))
    assert "model.concat_pool=false" in e.value.hint
    assert not torch.are_deterministic_algorithms_enabled()
    speed.be_deterministic(nn.Sequential(nn.AdaptiveAvgPool2d(1)), torch.device("cuda"))


def test_a_compiled_model_keeps_the_names_of_its_weights(make_config, monkeypatch):
    monkeypatch.setattr(speed, "check_compiler", lambda device: None)
    learn = Model(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Linear(4, 2)))
    names = list(learn.model.state_dict())
    assert "torch.compile" in speed.apply(make_config(**{"train.compile": True}), learn, hardware(), 32)[0]
    assert learn.model._compiled_call_impl is not None
    assert list(learn.model.state_dict()) == names
    assert copy.deepcopy(learn.model)._compiled_call_impl is None


def test_no_compiler_is_said_before_training(monkeypatch):
    def broken(function):
        raise RuntimeError("\nno working C++ compiler found in ['g++']")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match=r"does not work on cpu here: no working C\+\+ compiler") as e:
        speed.check_compiler(torch.device("cpu"))
    assert "leave out train.compile" in e.value.hint


@pytest.mark.parametrize("key", ["channels_last", "compile", "deterministic"])
def test_other_values_are_refused(make_config, key):
    with pytest.raises(ConfigError, match=f"train.{key}"):
        make_config(**{f"train.{key}": "sometimes"})
