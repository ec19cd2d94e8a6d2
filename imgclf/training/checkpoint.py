"""``last.ckpt``: where a run is and all it needs to go on. Tensors and plain values; reading it runs no code."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from imgclf import runs
from imgclf.errors import ModelError
from imgclf.training.best import Best
from imgclf.training.plan import Curve, Phase

VERSION = 1
TENSOR = "tensor"  # the key that marks where a tensor belongs among the plain values


@dataclass(frozen=True)
class Place:
    """What is to be done next: phase and epoch from 0, and the batches of that epoch already done."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0

    @property
    def begins_phase(self) -> bool:
        return self.epoch == self.batch == 0


@dataclass(frozen=True)
class Checkpoint:
    """A run at one place.

    Attributes:
        state: Model, optimizer, gradient scaler and smoothed loss, as ``state.capture`` gives them.
        rows: Of the history so far.
        halvings: For each time the learning rates were halved, the number of the first phase it was for.
    """

    place: Place
    lr: float
    phases: tuple[Phase, ...]
    fingerprint: str
    best: Best | None
    rows: list[dict[str, Any]]
    state: dict[str, Any]
    halvings: tuple[int, ...] = ()

    @property
    def is_best(self) -> bool:
        """Whether these weights are those of the best epoch: they were saved just before its bundle."""
        return self.place.batch == 0 and bool(self.rows) and bool(self.rows[-1]["best"])


def save(path: Path, made: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all: the one before stays until this one is on the disk.

    Raises:
        ModelError: if it cannot be written, as on a full disk.
    """
    tensors: dict[str, Tensor] = {}
    values = {**vars(made), "place": asdict(made.place), "phases": [asdict(p) for p in made.phases]}
    values |= {"best": asdict(made.best) if made.best else None, "state": _pack(made.state, tensors)}
    text = json.dumps(values)
    facts = {"imgclf_checkpoint": str(VERSION), "values": text, "sha256": _digest(text, tensors)}
    data = safetensors.torch.save(tensors, metadata=facts)
    try:
        runs.atomic_write(path, lambda temporary: _write(temporary, data))
    except OSError as e:
        raise ModelError(
            f"cannot write {path} ({len(data) / 1e6:.0f} MB): {e.strerror}; the one before is whole",
            f"make room, then go on: imgclf train --resume {path.parent}",
        ) from e


def load(path: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint, its tensors onto ``device``.

    Raises:
        ModelError: if it is missing, damaged, or of another version. Nothing is changed.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            facts = stream.metadata() or {}
            _check_version(path, facts)
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if facts["sha256"] != _digest(facts["values"], tensors):
            raise ValueError("its contents do not match the hash inside")
        values = json.loads(facts["values"])
        return Checkpoint(
            Place(**values["place"]),
            values["lr"],
            tuple(_phase(p) for p in values["phases"]),
            values["fingerprint"],
            Best(**values["best"]) if values["best"] else None,
            values["rows"],
            _unpack(values["state"], tensors, device),
            tuple(values.get("halvings", ())),
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ModelError(
            f"the checkpoint {path} cannot be used: {e}",
            f"the best model so far is in {path.parent}; train again: imgclf train -c {path.parent / runs.CONFIG}",
        ) from e


def _check_version(path: Path, facts: dict[str, str]) -> None:
    found = facts.get("imgclf_checkpoint")
    if found != str(VERSION):
        raise ModelError(
            f"{path} is a checkpoint of version {found}, this imgclf reads version {VERSION}",
            "resume with the imgclf that wrote it (manifest.json names it), or train again",
        )


def _phase(values: dict[str, Any]) -> Phase:
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Phase(**{**values, **lists, "curve": Curve(**values["curve"])})


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())  # before the rename: a power cut must not leave an empty file under the name


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Plain values, with each tensor replaced by its number in ``tensors``."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().as_subclass(Tensor).cpu().clone().contiguous()
        return {TENSOR: name}
    if isinstance(value, dict):
        return {key: _pack(v, tensors) for key, v in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_pack(v, tensors) for v in value]


def _unpack(value: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors, device) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {TENSOR}:
        return tensors[value[TENSOR]].to(device)
    return {key: _unpack(v, tensors, device) for key, v in value.items()}


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
