"""The bundle: ``model.safetensors`` + ``model.json``, a trained model in two files that hold no code.

The weights file carries the same record in its metadata, so it is a whole model by itself. Loading never unpickles: the
worst a hostile file can do is be refused.
"""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from imgclf import runs
from imgclf.errors import ModelError
from imgclf.networks.timm_models import TimmBody
from imgclf.shipping import layers
from imgclf.shipping.record import Record, parse

__all__ = ["Record", "complete", "load", "read", "save", "update", "write"]

MAX_HEADER = 32 << 20  # bytes; that of a resnet152 has 0.1 MB, a hundred thousand class names a few MB
DTYPES = {"F32": torch.float32, "I64": torch.int64}  # I64: BatchNorm counts its batches

State = dict[str, Tensor]


def save(folder: Path, state: State, record: Record) -> None:
    """Write the bundle into ``folder``: weights first, then the record that vouches for them, each whole or not at all.

    Args:
        state: Of ``Sequential(body, head)``; any device and floating type, written as float32.

    Raises:
        ModelError: if the weights do not fit the record, or hold NaN or infinity.
    """
    weights = write(folder / runs.WEIGHTS, state, record)
    _write_record(folder, record, weights.read_bytes())


def _write_record(folder: Path, record: Record, weights: bytes) -> None:
    facts = {"file": runs.WEIGHTS, "bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    runs.write_json(folder / runs.RECORD, {**record.to_dict(), "weights": facts})


def write(target: Path, state: State, record: Record) -> Path:
    """Write the whole model as one ``.safetensors`` file; raises as ``save`` does."""
    plain = {name: _plain(tensor) for name, tensor in state.items()}
    if layers.code(record.head) is None:
        _network(plain, record)
    else:
        _check_values(plain)  # to write a custom head's weights is no reason to run its code
    text = record.to_json()
    metadata = {"format": "pt", "imgclf": text, "sha256": _fingerprint(text, plain)}
    return runs.atomic_write(target, lambda path: safetensors.torch.save_file(plain, path, metadata=metadata))


def load(path: Path, trust: bool = False) -> tuple[nn.Sequential, Record]:
    """A model in evaluation mode on the CPU, and its record.

    Args:
        path: A folder with a bundle (a run folder is one), or a ``.safetensors`` file written by imgclf.
        trust: Whether to run the code that makes a custom head; without it such a model is refused.

    Raises:
        ModelError: for anything that is not exactly that.
    """
    state, record = read(path)
    return _network(state, record, trust), record


def read(path: Path) -> tuple[State, Record]:
    """The tensors and the record of a model, hashes checked; raises as ``load`` does."""
    if not path.is_dir():
        return _read_weights(path, _bytes(path))
    weights = path / runs.WEIGHTS
    data = _bytes(weights)
    promised = _promised(path / runs.RECORD, data)
    state, record = _read_weights(weights, data)
    if promised.to_json() != record.to_json():
        raise ModelError(f"{path / runs.RECORD} and the record inside {runs.WEIGHTS} differ", _by_itself(weights))
    return state, record


def update(folder: Path, **changes: Any) -> Record:
    """Change fields of the record, such as ``temperature`` or ``metrics``, in both files of a bundle.

    Raises:
        ModelError: if the bundle cannot be read, or a value cannot be right.
    """
    state, record = read(folder)
    changed = replace(record, **changes)
    save(folder, state, changed)
    return changed


def complete(folder: Path) -> None:
    """Write ``model.json`` anew if it is missing or of other weights: ``save`` was killed between its two files.

    Only for the folder of a run that is being written: the weights, which carry their record and a hash, decide.

    Raises:
        ModelError: if the weights file is not a whole model.
    """
    data = _bytes(folder / runs.WEIGHTS)
    try:
        _promised(folder / runs.RECORD, data)
    except ModelError:
        _, record = _read_weights(folder / runs.WEIGHTS, data)
        _write_record(folder, record, data)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ModelError(f"the model file {path} cannot be read: {e.strerror}") from e


def _promised(path: Path, weights: bytes) -> Record:
    """The record in ``model.json``, if it was written for these weights."""
    try:
        data = parse(_bytes(path).decode("utf-8"), path)
    except UnicodeDecodeError as e:
        raise ModelError(f"{path} is not text: {e}") from e
    facts = data.pop("weights", None) if isinstance(data, dict) else None
    record = Record.from_dict(data)
    if not isinstance(facts, dict) or facts.get("sha256") != hashlib.sha256(weights).hexdigest():
        raise ModelError(
            f"{path} was not written for the {runs.WEIGHTS} beside it ({len(weights):,} bytes): "
            "one of them is damaged, or from another model",
            _by_itself(path.with_name(runs.WEIGHTS)),
        )
    return record


def _by_itself(weights: Path) -> str:
    return f"the weights file carries a record of its own; to use that one: imgclf predict {weights} IMAGE"


def _read_weights(path: Path, data: bytes) -> tuple[State, Record]:
    metadata = _metadata(path, data)
    if not isinstance(metadata.get("imgclf"), str):
        raise ModelError(
            f"{path} holds weights but not imgclf's record of the model: classes, preprocessing, layers",
            "to start a training from such weights: imgclf train --set model.weights=FILE",
        )
    record = Record.from_json(metadata["imgclf"])
    try:
        state = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as e:
        raise ModelError(f"{path} is not a whole safetensors file: {e}") from e
    if metadata.get("sha256") != _fingerprint(metadata["imgclf"], state):
        raise ModelError(f"{path} is damaged: its contents do not match the hash inside", "copy or export it again")
    return state, record


def _metadata(path: Path, data: bytes) -> dict[str, Any]:
    """The free texts in the header of a safetensors file: 8 bytes of length, JSON, tensors.

    The types of the tensors are checked here, before any is made.
    """
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= length <= min(MAX_HEADER, len(data) - 8):
        raise ModelError(f"{path} is not a safetensors file, or cut short ({len(data):,} bytes)")
    try:
        header = parse(data[8 : 8 + length])
    except ModelError as e:
        raise ModelError(f"{path} is not a safetensors file: its header is not JSON, or holds a key twice") from e
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ModelError(f"{path} is not a safetensors file: its header is not an object")
    metadata = header.pop("__metadata__", {})
    odd = [n for n, t in header.items() if not isinstance(t, dict) or not _is_known(t.get("dtype"))]
    if odd:
        raise ModelError(f"{path} holds tensors of types no imgclf model has: {', '.join(odd)[:200]}")
    return dict(metadata)


def _is_known(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype in DTYPES


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, float32 or int64."""
    kind = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to(device="cpu", dtype=kind).contiguous()


def _fingerprint(text: str, state: State) -> str:
    """SHA-256 over the record and the tensors by name: what makes a single file notice a flipped byte."""
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace"))
    for name in sorted(state):
        digest.update(f"{name} {list(state[name].shape)}".encode("utf-8", "backslashreplace"))
        digest.update(state[name].numpy().data)
    return digest.hexdigest()


def _network(state: State, record: Record, trust: bool = False) -> nn.Sequential:
    """The network of a record with these weights: strict in names, shapes, types and values."""
    what = record.arch, record.head, record.preprocess.channels, record.cut
    by_code = layers.code(record.head) is not None
    net = layers.network(*what, device="cpu" if by_code else "meta", trust=trust)
    expected = net.state_dict()
    _check_names(set(expected), set(state))
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            have, want = f"{tensor.dtype} {list(tensor.shape)}", f"{expected[name].dtype} {list(expected[name].shape)}"
            raise ModelError(f"the weights '{name}' are {have}, the model's layers need {want}")
    _check_values(state)
    if isinstance(net[0], TimmBody) and not by_code:
        # Its tables, such as relative positions, are in no file: now that the sizes are right, make them.
        net = layers.network(*what, device="cpu")
    n_out = layers.outputs(net, record.preprocess.size, record.preprocess.channels)
    if n_out != len(record.classes):
        raise ModelError(f"the model has {n_out} outputs and {len(record.classes)} class names")
    net.load_state_dict(state, strict=True, assign=True)
    return net.requires_grad_(False)


def _check_values(state: State) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not np.isfinite(tensor.numpy()).all():
            raise ModelError(f"the weights '{name}' hold NaN or infinity", "the training diverged: use a lower --lr")


def _check_names(expected: set[str], found: set[str]) -> None:
    wrong = sorted(expected ^ found)
    if wrong:
        missing, extra = len(expected - found), len(found - expected)
        raise ModelError(
            f"the weights do not fit the model's layers: {missing} missing, {extra} unknown, such as '{wrong[0][:80]}'"
        )
