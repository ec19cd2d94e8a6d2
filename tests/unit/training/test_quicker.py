"""The precision that `auto` takes: measured once, quicker and right."""

import json

import pytest
import torch

from imgclf.training import quicker
from imgclf.training.quicker import Steps, Trial

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own; returns the file."""
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "cache"))
    quicker._trial.cache_clear()
    yield tmp_path / "cache" / quicker.NAME
    quicker._trial.cache_clear()


def measuring(monkeypatch, *trials: Trial) -> list[str]:
    """Let the next measurements give these; returns the names asked for."""
    asked, left = [], list(trials)

    def measure(device, name):
        asked.append(name)
        return left.pop(0)

    monkeypatch.setattr(quicker, "measure", measure)
    return asked


@pytest.mark.parametrize(
    ("trial", "precision", "why"),
    [
        (Trial(2.34, 0.93), "bf16", "measured here: 2.3 times as fast as fp32, same gradients"),
        (Trial(1.05, 0.93), "fp32", "measured here: bf16 is 1.1 times as fast"),
        (Trial(0.3, 0.93), "fp32", "measured here: bf16 is 0.3 times as fast"),
        (Trial(3.0, 0.2), "fp32", "measured here: bf16 computes wrongly"),
        (Trial(3.0, 0.0), "fp32", "measured here: bf16 computes wrongly"),
        (Trial(0.0, 1.0, "no kernel"), "fp32", "measured here: bf16 is not possible: no kernel"),
    ],
    ids=["quicker", "hardly", "emulated", "wrong", "not finite", "impossible"],
)
def test_quicker_and_right_decide(cache, monkeypatch, trial, precision, why):
    measuring(monkeypatch, trial)
    assert quicker.best(CPU) == (precision, why)
    assert quicker.faster(CPU) == ((precision, trial.times) if trial.good else None)


def test_it_is_measured_once_a_machine(cache, monkeypatch):
    asked = measuring(monkeypatch, Trial(2.0, 0.9))
    first = quicker.best(CPU)
    quicker._trial.cache_clear()  # another process
    assert quicker.best(CPU) == first
    assert asked == ["bf16"]
    assert list(json.loads(cache.read_text()).values()) == [[2.0, 0.9, ""]]


def test_another_version_or_number_of_threads_is_measured_anew(cache, monkeypatch):
    asked = measuring(monkeypatch, *[Trial(2.0, 0.9)] * 3)
    quicker.best(CPU)
    monkeypatch.setattr(torch, "__version__", "99")
    quicker.best(CPU)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    quicker.best(CPU)
    assert len(asked) == len(json.loads(cache.read_text())) == 3


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["x", "y"]}', '{"KEY": [1]}'])
def test_a_damaged_file_is_measured_over(cache, monkeypatch, text):
    cache.parent.mkdir(parents=True)
    cache.write_text(text.replace("KEY", quicker._key(CPU, "bf16")))
    measuring(monkeypatch, Trial(2.0, 0.9))
    assert quicker.best(CPU)[0] == "bf16"
    assert [2.0, 0.9, ""] in json.loads(cache.read_text()).values()


def test_without_a_cache_folder_it_is_measured_once_a_process(tmp_path, cache, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "file" / "below"))
    asked = measuring(monkeypatch, Trial(2.0, 0.9))
    assert quicker.best(CPU) == quicker.best(CPU)
    assert asked == ["bf16"]


def test_a_gpu_without_room_for_the_steps_says_what_it_can(cache, monkeypatch):
    def full(device, name):
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(quicker, "measure", full)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    for capability, expected in (((8, 0), "bf16"), ((7, 5), "fp16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert quicker.best(torch.device("cuda"))[0] == expected
    assert not cache.exists()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory"),
        MemoryError(),
    ],
    ids=["processor", "device", "Python"],
)
def test_a_processor_short_of_memory_is_asked_again_another_time(cache, monkeypatch, error):
    class Full:
        def __init__(self, *_):
            raise error

    monkeypatch.setattr(quicker, "Steps", Full)
    assert quicker.best(CPU) == ("fp32", "memory is too short to measure others")
    assert not cache.exists()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (RuntimeError("\"conv\" not implemented for 'BFloat16'"), True),
        (NotImplementedError("Could not run 'aten::x' with arguments from the 'MPS' backend"), True),
        (RuntimeError("could not create a primitive descriptor for a convolution"), True),
        (RuntimeError("CUDA error: unspecified launch failure\nat line 7"), False),
    ],
)
def test_a_step_that_failed_is_told_with_its_reason_and_kept_only_if_it_cannot_be(cache, monkeypatch, error, kept):
    class Broken:
        def __init__(self, *_):
            raise error

    monkeypatch.setattr(quicker, "Steps", Broken)
    reason = str(error).partition("\n")[0]
    assert quicker.best(CPU) == ("fp32", f"measured here: bf16 is not possible: {reason}")
    assert cache.exists() == kept
    if kept:
        quicker._trial.cache_clear()  # another process
        assert reason in quicker.best(CPU)[1]


def test_a_failure_written_down_without_its_reason_is_tried_again(cache, monkeypatch):
    """As version 1.0 did, whatever had gone wrong; what it measured stays."""
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps({quicker._key(CPU, "bf16"): [0.0, 1.0], "other": [1.5, 0.9]}))
    assert measuring(monkeypatch, Trial(2.0, 0.9)) == []
    assert quicker.best(CPU)[0] == "bf16"
    assert sorted(json.loads(cache.read_text()).values()) == [[1.5, 0.9, ""], [2.0, 0.9, ""]]


def test_a_gpu_without_bf16_takes_fp16(cache, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert measuring(monkeypatch, Trial(0.5, 0.9), Trial(2.5, 0.99)) == []
    assert quicker.best(torch.device("cuda"))[0] == "fp16"


def test_other_devices_keep_the_reference(cache):
    assert quicker.best(torch.device("mps")) == ("fp32", "the reference on mps")


# Measuring


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(quicker.WORK, "cpu", (4, 64))
    monkeypatch.setattr(quicker, "TIMED", 1)


def test_right_gradients_are_alike_and_random_ones_are_not(small, monkeypatch):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = quicker.measure(CPU, "bf16")
    assert found.times > 0
    assert quicker.ALIKE < found.alike < 1
    assert torch.equal(torch.get_rng_state(), state)  # what follows draws what it would
    right = Steps.gradient

    def wrong(self):
        gradient = right(self)
        return gradient if gradient[0] == self.reference else torch.randn_like(gradient)

    step = Steps(CPU, "fp32", False, 4, 64)
    step()
    monkeypatch.setattr(Steps, "reference", step.gradient()[0], raising=False)
    monkeypatch.setattr(Steps, "gradient", wrong)
    assert abs(quicker.measure(CPU, "bf16").alike) < 0.1


def test_gradients_that_are_no_numbers_are_wrong(small, monkeypatch):
    monkeypatch.setattr(Steps, "gradient", lambda self: torch.tensor([float("nan"), 1.0]))
    found = quicker.measure(CPU, "bf16")
    assert (found.alike, found.good) == (0, False)


def test_an_emulated_precision_is_not_measured_for_long(monkeypatch):
    taken = []

    class Slow:
        def __init__(self, device, precision, *_):
            self.seconds = {"fp32": 1.0, "bf16": 10.0}[precision]

        def __call__(self):
            taken.append(self.seconds)
            return self.seconds

        def gradient(self):
            return torch.ones(2)

    monkeypatch.setattr(quicker, "Steps", Slow)
    assert quicker.measure(CPU, "bf16").times == pytest.approx(0.1)
    assert taken == [1.0, 10.0]


def test_what_a_device_cannot_do_is_no_error(monkeypatch):
    class Broken:
        def __init__(self, *_):
            raise RuntimeError("no bf16 here\nat line 7")

    monkeypatch.setattr(quicker, "Steps", Broken)
    assert quicker.measure(CPU, "bf16") == Trial(0.0, 1.0, "no bf16 here")
