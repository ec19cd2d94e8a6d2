"""What works on this machine, found by trying."""

from importlib.util import find_spec
from itertools import product
from typing import Any

from imgclf.cores import cores
from imgclf.data import shared_memory
from imgclf.data.cache import cache_folder
from imgclf.errors import first_line
from imgclf.workflow import environment
from imgclf.workflow.trackers import TRACKERS

# The optional parts of the installation, and the modules each needs.
EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "serve": ("starlette", "uvicorn", "python_multipart"),
    "timm": ("timm",),
    "distributed": ("accelerate",),
    **{name: modules for name, (_, modules) in TRACKERS.items()},
}
PRECISIONS = ("fp32", "bf16", "fp16")
SIDE, IMAGES, TIMED = 64, 4, 3  # pixels, images a step, steps
ENOUGH = 256 << 20  # bytes of shared memory, for workers


def examine() -> dict[str, Any]:
    """Versions, devices, the training steps that work, extras, shared memory and the weight cache."""
    import torch

    from imgclf.training import archs, weights

    devices = ["cpu", *([f"cuda ({torch.cuda.get_device_name(0)})"] if torch.cuda.is_available() else [])]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cached = [a.name for a in archs.all_archs() if weights.cache_path(a).is_file()]
    facts = environment.facts()
    return {
        "versions": facts["versions"],
        "platform": facts["platform"],
        "processors": cores(),
        "devices": devices,
        "precision: auto": {name: _precision(name) for name in (device.split()[0] for device in devices)},
        "training steps": steps([device.split()[0] for device in devices]),
        "extras": {name: _installed(modules) for name, modules in EXTRAS.items()},
        "shared memory": _shared_memory(),
        "weights here": cached or "none",
        "weight cache": str(weights.cache_path(archs.all_archs()[0]).parent),
        "imgclf cache": str(cache_folder()),
    }


def steps(devices: list[str]) -> list[dict[str, Any]]:
    """One training step of a ResNet-18 on small random images, each way a device may compute it.

    Returns:
        Rows of ``device``, ``precision``, ``channels_last``, ``ms`` (the quickest of several) and ``difference``: of
        the outputs from those in fp32 on the processor, the norm relative to theirs. A way that fails has both None
        and the reason in ``error``.
    """
    reference = _step("cpu", "fp32", False)[1]
    ways = [way for way in product(devices, PRECISIONS, (False, True)) if way[0] == "cuda" or way[1] != "fp16"]
    return [_row(device, precision, last, reference) for device, precision, last in ways]


def _row(device: str, precision: str, channels_last: bool, reference: Any) -> dict[str, Any]:
    way = {"device": device, "precision": precision, "channels_last": channels_last}
    try:
        seconds, found = _step(device, precision, channels_last)
    except RuntimeError as e:  # what torch raises for what a device cannot do
        return {**way, "ms": None, "difference": None, "error": first_line(e)}
    difference = float((found - reference).norm() / reference.norm())
    return {**way, "ms": round(1000 * seconds, 1), "difference": difference}


def _step(device: str, precision: str, channels_last: bool) -> tuple[float, Any]:
    """Seconds of a step, and its outputs in fp32 on the processor; the weights and images are always the same."""
    import torch

    from imgclf.training.quicker import Steps

    step = Steps(torch.device(device), precision, channels_last, IMAGES, SIDE)
    seconds = [step() for _ in range(1 + TIMED)]  # the first step pays for set-up
    return min(seconds[1:]), step.outputs


def _precision(device: str) -> str:
    """What ``train.precision: auto`` is on a device, and why."""
    import torch

    from imgclf.training import quicker

    precision, why = quicker.best(torch.device(device))
    return f"{precision} ({why})"


def _installed(modules: tuple[str, ...]) -> str:
    missing = [name for name in modules if find_spec(name) is None]
    return f"no ({', '.join(missing)} missing)" if missing else "yes"


def _shared_memory() -> str:
    """Workers hand batches over through /dev/shm on Linux; a container's 64 MB is soon full."""
    free = shared_memory.free()
    if free is None:
        return "not needed here"
    return shared_memory.size() + ("; too little for workers: --set data.workers=0" if free < ENOUGH else "")
