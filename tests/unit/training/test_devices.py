import pytest

from imgclf.config import load_config
from imgclf.errors import UserError
from imgclf.training import devices


def resolve(**settings):
    return devices.resolve(load_config("folder", **{f"train.{k}": v for k, v in settings.items()}))


def test_cpu_is_always_there():
    assert resolve(device="cpu", precision="fp32").device.type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu0", "", "cpu:", "cuda:²"])
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


def hardware(precision: str) -> devices.Hardware:
    import torch

    return devices.Hardware(torch.device("cpu"), precision, "")


@pytest.fixture
def measured(monkeypatch):
    """What was measured here: bf16 is the best."""
    asked = []

    def best(device):
        asked.append(device.type)
        return "bf16", "measured here"

    monkeypatch.setattr(devices.quicker, "best", best)
    return asked


def test_auto_is_what_was_measured(measured):
    undecided = resolve(device="cpu")
    assert undecided.precision == devices.AUTO
    found = devices.settled(undecided, 32)
    assert (found.precision, found.reason, measured) == ("bf16", "measured here", ["cpu"])


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
@pytest.mark.parametrize("before", [None, "bf16", "fp32"])
def test_a_precision_by_name_is_never_changed(measured, wanted, before):
    found = devices.settled(resolve(device="cpu", precision=wanted), 16, before)
    assert (found.precision, found.reason, measured) == (wanted, devices.CHOSEN, [])


def test_tiny_images_are_computed_in_fp32_on_a_processor(measured):
    found = devices.settled(hardware(devices.AUTO), 31)
    assert (found.precision, measured) == ("fp32", [])
    assert "not safe below 32 pixels" in found.reason


def test_a_run_goes_on_in_the_precision_it_began_in(measured):
    found = devices.settled(hardware(devices.AUTO), 224, "fp32")
    assert (found.precision, found.reason, measured) == ("fp32", "as the run began", [])
