"""Which precision is quicker on a device, and right: measured once a machine, kept in the user's cache folder.

What a processor's flags promise is not what torch makes of it, and a GPU may emulate what it says it supports. So a
training step of a ResNet-18 decides: the precision must be clearly quicker than fp32, and its gradients those of fp32.
"""

import contextlib
import functools
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from imgclf import runs
from imgclf.data.cache import cache_folder
from imgclf.errors import first_line

NAME = "precision.json"
CANDIDATES = {"cpu": ("bf16",), "cuda": ("bf16", "fp16")}
WORK = {"cpu": (8, 128), "cuda": (64, 224)}  # images a step, pixels: enough to keep the device busy
TIMED = 4  # steps, after one that pays for set-up; the quickest counts
HOPELESS = 3  # times as slow in that first step: emulated, no need to look further
CLEARLY = 1.1  # times as fast
BF16_CAPABILITY = (8, 0)  # of CUDA: earlier ones emulate it
# Cosine between the gradients of all weights. Right ones have 0.92 (bf16, random weights, BatchNorm of 8 images), wrong
# ones nothing to do with each other.
ALIKE = 0.8
# What torch says where a device can never take such a step; any other failure may be one of this moment.
NEVER = (
    "not implemented", "not supported", "unsupported", "could not run", "could not create a primitive",
    "no kernel image",
)  # fmt: skip


class Trial(NamedTuple):
    """A precision beside fp32: how many times as fast a step is, and the cosine between the gradients.

    Gradients that are not finite have 0; a precision in which no step is possible is 0 times as fast, for a ``reason``.
    """

    times: float
    alike: float
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.times >= CLEARLY and self.alike >= ALIKE

    @property
    def lasts(self) -> bool:
        """Whether it will be the same the next time."""
        return not self.reason or any(words in self.reason.lower() for words in NEVER)


def best(device: Any) -> tuple[str, str]:
    """The precision to train in, and why."""
    why = f"the reference on {device.type}"
    for name in CANDIDATES.get(device.type, ()):
        found = trial(device, name)
        if found is None:
            return _promised(device) if device.type == "cuda" else ("fp32", "memory is too short to measure others")
        if found.good:
            return name, f"measured here: {found.times:.1f} times as fast as fp32, same gradients"
        slow = f"{found.times:.1f} times as fast" if found.times else f"not possible: {found.reason}"
        why = f"measured here: {name} is {slow}" if found.alike >= ALIKE else f"measured here: {name} computes wrongly"
    return "fp32", why


def faster(device: Any) -> tuple[str, float] | None:
    """A precision that is clearly quicker than fp32 here, and how many times, if there is one."""
    for name in CANDIDATES.get(device.type, ()):
        found = trial(device, name)
        if found and found.good:
            return name, found.times
    return None


def trial(device: Any, name: str) -> Trial | None:
    """What was measured on this machine before, or now; None: memory is too short for it at the moment."""
    return _trial(cache_folder() / NAME, _key(device, name), device, name)


@functools.cache
def _trial(file: Path, key: str, device: Any, name: str) -> Trial | None:
    known = _read(file)
    if key not in known:
        from imgclf.training import faults

        try:
            found = measure(device, name)
        except (RuntimeError, MemoryError) as e:
            if not faults.is_out_of_memory(e):
                raise
            return None  # a shortage of this moment says nothing of the machine, so it is not written down
        if not found.lasts:
            return found
        known = {**_read(file), key: found}
        with contextlib.suppress(OSError):  # then the next command measures again
            runs.write_json(file, known)
    return known[key]


def _read(file: Path) -> dict[str, Trial]:
    """What is known; nothing where the file is missing, or is none of ours."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        trials = {key: _recorded(*value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    # A failure without its reason is from before reasons were kept: it is tried again.
    return {key: trial for key, trial in trials.items() if trial.times or trial.reason}


def _recorded(times: float, alike: float, reason: str = "") -> Trial:
    return Trial(float(times), float(alike), str(reason))


def _key(device: Any, name: str) -> str:
    """What a measurement holds for."""
    import torch

    here = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return "/".join([name, device.type, here, _processor(), platform.node(), f"torch {torch.__version__}"])


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _promised(device: Any) -> tuple[str, str]:
    """What a GPU says of itself."""
    import torch

    good = torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
    return ("bf16", "the GPU supports it") if good else ("fp16", "the GPU has no bf16")


def measure(device: Any, name: str) -> Trial:
    """Steps in fp32 and in another precision, in turns, each in the memory format that training takes for it."""
    import torch

    from imgclf.training import faults
    from imgclf.training.speed import channels_last_is_faster

    try:
        images, side = WORK[device.type]
        ways = {
            way: Steps(device, way, channels_last_is_faster(device, way, side), images, side) for way in ("fp32", name)
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(1 + TIMED):
            for way, steps in ways.items():
                seconds[way].append(steps())
            if turn == 0:
                first = {way: steps.gradient() for way, steps in ways.items()}
                if seconds[name][0] > HOPELESS * seconds["fp32"][0]:
                    break
        reference, quick = (min(seconds[way][1:] or seconds[way]) for way in ways)
        alike = float(torch.nn.functional.cosine_similarity(first["fp32"], first[name], dim=0))
        return Trial(reference / quick, alike if math.isfinite(alike) else 0.0)
    except RuntimeError as e:  # what torch raises for what a device cannot do, and for much else
        if faults.is_out_of_memory(e):
            raise
        return Trial(0.0, 1.0, first_line(e))


class Steps:
    """Training steps of a ResNet-18 on random images; weights and images are always the same.

    Attributes:
        outputs: Of the last step, in fp32 on the processor.
    """

    def __init__(self, device: Any, precision: str, channels_last: bool, images: int, side: int) -> None:
        import torch

        from imgclf.networks import bodies

        layout = torch.channels_last if channels_last else torch.contiguous_format
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net, x = bodies.BUILDERS["resnet18"](), torch.rand(images, 3, side, side)
        self.net, self.x = net.to(device).to(memory_format=layout), x.to(device, memory_format=layout)
        self.y = torch.arange(images, device=device)
        kind = torch.float16 if precision == "fp16" else torch.bfloat16
        self.autocast: Callable[[], Any] = lambda: torch.autocast(
            self.x.device.type, dtype=kind, enabled=precision != "fp32"
        )

    def __call__(self) -> float:
        """Take a step, but for the optimizer's; returns its seconds.

        On a processor those that it worked for this process: other programs take turns on it, and what is found is
        written down for good.
        """
        import torch

        self.net.zero_grad(set_to_none=True)
        clock = time.process_time if self.x.device.type == "cpu" else time.perf_counter
        started = clock()
        with self.autocast():
            outputs = self.net(self.x)
            loss = torch.nn.functional.cross_entropy(outputs, self.y)
        loss.backward()
        loss.item()  # waits for the device
        self._wait()
        seconds = clock() - started
        self.outputs = outputs.detach().float().cpu()
        return seconds

    def gradient(self) -> Any:
        """Of the last step: all weights', one after the other, on the processor."""
        import torch

        return torch.cat([p.grad.flatten().float().cpu() for p in self.net.parameters() if p.grad is not None])

    def _wait(self) -> None:
        import torch

        if self.x.device.type == "cuda":
            torch.cuda.synchronize(self.x.device)  # the loss is there before the gradients are
