"""What works on this machine, found by trying."""

import os
import shutil
import time
from typing import Any

from imgclf.data.cache import cache_folder
from imgclf.workflow import environment


def examine() -> dict[str, Any]:
    """Versions, devices, the precisions a training step runs in, shared memory and the weight cache."""
    import torch

    from imgclf.training import archs, weights

    devices = ["cpu", *([f"cuda ({torch.cuda.get_device_name(0)})"] if torch.cuda.is_available() else [])]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    cached = [a.name for a in archs.all_archs() if weights.cache_path(a).is_file()]
    facts = environment.facts()
    return {
        "versions": facts["versions"],
        "platform": facts["platform"],
        "processors": os.cpu_count(),
        "devices": devices,
        "training step": {d.split()[0]: _precisions(d.split()[0]) for d in devices},
        "shared memory": _shared_memory(),
        "weights here": cached or "none",
        "weight cache": str(weights.cache_path(archs.all_archs()[0]).parent),
        "imgclf cache": str(cache_folder()),
    }


def _precisions(device: str) -> str:
    """One training step of a small network in each precision: time, or why not."""
    return "; ".join(f"{name}: {_step(device, name)}" for name in ("fp32", "bf16"))


def _step(device: str, precision: str) -> str:
    import torch
    from torch import nn

    try:
        net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)).to(
            device
        )
        x, y = torch.rand(16, 3, 32, 32, device=device), torch.zeros(16, dtype=torch.long, device=device)
        for _ in range(2):  # the first step pays for set-up
            started = time.perf_counter()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            value = float(loss.detach())
        return f"{(time.perf_counter() - started) * 1000:.0f} ms" if value == value else "NaN"
    except (RuntimeError, NotImplementedError) as e:  # what torch raises for what a device cannot do
        return f"no ({str(e).splitlines()[0]})"


def _shared_memory() -> str:
    """Workers hand batches over through /dev/shm on Linux; a container's 64 MB is soon full."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return "not needed here"
    return f"{free / 2**20:,.0f} MB free" + ("; too little for workers: --set data.workers=0" if free < 2**28 else "")
