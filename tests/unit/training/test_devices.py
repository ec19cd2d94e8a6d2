import pytest

from imgclf.config import load_config
from imgclf.errors import UserError
from imgclf.training import devices


def resolve(**settings):
    return devices.resolve(load_config("folder", **{f"train.{k}": v for k, v in settings.items()}))


def test_cpu_is_always_there():
    assert resolve(device="cpu", precision="fp32").device.type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu0", ""])
def test_an_unknown_device_is_named(name):
    with pytest.raises(UserError, match="is no device"):
        resolve(device=name)


def test_a_device_that_is_not_here_lists_those_that_are(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="cuda is not available here") as e:
        resolve(device="cuda")
    assert "cpu" in e.value.hint


def test_fp16_needs_a_gpu():
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        resolve(device="cpu", precision="fp16")


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_uses_bf16_on_a_cpu_only_in_hardware(has, expected, monkeypatch):
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: has)
    assert resolve(device="cpu").precision == expected
    assert resolve(device="cpu", precision="fp32").precision == "fp32"


@pytest.mark.parametrize(
    ("size", "precision", "reason", "expected"),
    [
        (16, "bf16", "this processor has bf16 instructions", "fp32"),
        (32, "bf16", "this processor has bf16 instructions", "bf16"),
        (16, "bf16", devices.CHOSEN, "bf16"),
        (16, "fp32", "the reference on cpu", "fp32"),
    ],
)
def test_bf16_gives_way_to_fp32_on_tiny_images_unless_it_was_asked_for(size, precision, reason, expected):
    import torch

    hardware = devices.Hardware(torch.device("cpu"), precision, reason)
    assert devices.for_size(hardware, size).precision == expected
