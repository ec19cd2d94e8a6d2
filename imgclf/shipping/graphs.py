"""Files that hold a finished graph, pixels to probabilities: ONNX, OpenVINO, ``torch.export`` and TorchScript.

For the first two torch is not imported.
"""

import contextlib
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from imgclf.errors import ModelError, UserError, first_line, missing

Format = Literal["onnx", "openvino", "torch-export", "torchscript"]
FORMATS: dict[str, Format] = {
    ".onnx": "onnx", ".xml": "openvino", ".pt2": "torch-export", ".pt": "torchscript",
}  # fmt: skip
NAMES = ("classes", "preprocess", "task", "thresholds", "abstention")  # what is asked of a file that cannot be listed
CPU = "--device cpu, or use the run"
OPENVINO_FACTS = "imgclf"  # where they are in its runtime information


@dataclass(frozen=True)
class Graph:
    """A graph ready for use.

    Attributes:
        facts: What the file says of its model; each value is JSON. Nobody has checked it yet.
        run: uint8 RGB images (N, S, S, 3) to float32 probabilities (N, C); (N, H, W, 3) where the file says so.
        check: Takes the number of classes and S; raises ``ModelError`` where the graph is for others.
    """

    facts: dict[str, str]
    run: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    check: Callable[[int, int], None] = field(repr=False)


def load(path: Path, device: str, trust: bool) -> Graph:
    """The graph in a file, by its suffix.

    Args:
        trust: Whether to load what torch's own loaders read: they may run code that is in the file.

    Raises:
        ModelError: if it is no such file, or not trusted.
        UserError: for a device it cannot be used on.
    """
    fmt = FORMATS[path.suffix.lower()]
    if fmt == "onnx":
        return _onnx(path, device)
    if fmt == "openvino":
        return _openvino(path, device)
    if not trust:
        raise ModelError(
            f"{path} can run code when torch loads it; it is loaded only if you say that you trust it",
            "--trust, if you know where the file comes from; .onnx and .safetensors files need no trust",
        )
    if device not in ("auto", "cpu"):
        raise UserError(f"{path} is used on the CPU, not on the device '{device}'", CPU)
    return _torch_export(path) if fmt == "torch-export" else _torchscript(path)


def _onnx(path: Path, device: str) -> Graph:
    session = _onnx_session(path, device)
    with _loading(path, "an ONNX file"):  # names and facts that are not UTF-8
        found_in = [(i.name, i.type, list(i.shape)[1:]) for i in session.get_inputs()]
        found_out = [(o.name, o.type, list(o.shape)[1:]) for o in session.get_outputs()]
        facts = dict(session.get_modelmeta().custom_metadata_map)
    any_size = found_in == [("image", "tensor(uint8)", ["height", "width", 3])]  # then one image at a time

    def run(images: np.ndarray) -> np.ndarray:
        parts = np.split(images, len(images)) if any_size and len(images) > 1 else [images]
        return np.concatenate([session.run(["probs"], {"image": np.ascontiguousarray(part)})[0] for part in parts])

    def check(n_classes: int, side: int) -> None:
        if (found_in != [("image", "tensor(uint8)", [side, side, 3])] and not any_size) or found_out != [
            ("probs", "tensor(float)", [n_classes])
        ]:
            raise ModelError(f"{path} is not a classifier of imgclf: it maps {found_in} to {found_out}")

    return Graph(facts, run, check)


def _onnx_session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise missing("an ONNX file", "onnxruntime", "onnx") from e
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: the result is ours to report
    wanted, where = _provider(path, device)
    if wanted not in onnxruntime.get_available_providers():
        raise UserError(
            f"this onnxruntime cannot use the device '{device}'", "pip install onnxruntime-gpu, or --device cpu"
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it tries a second time
            return onnxruntime.InferenceSession(str(path), options, providers=[(wanted, where)])
    except Exception as e:  # its own exception classes share no base but Exception
        raise ModelError(f"{path} is not a whole ONNX file: {first_line(e)}") from e


def _provider(path: Path, device: str) -> tuple[str, dict[str, str]]:
    """What onnxruntime calls a device, and which of several it is."""
    if device in ("auto", "cpu"):
        return "CPUExecutionProvider", {}
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise UserError(f"{path} is used on the CPU or with CUDA, not on the device '{device}'", CPU)
    return "CUDAExecutionProvider", {"device_id": number or "0"}


def companion(path: Path) -> Path:
    """The file with the weights of an OpenVINO ``.xml``."""
    return path.with_suffix(".bin")


def contents(path: Path) -> bytes:
    """All that a model file holds; of OpenVINO's pair both, one after the other. Raises OSError."""
    more = companion(path).read_bytes() if FORMATS.get(path.suffix.lower()) == "openvino" else b""
    return path.read_bytes() + more


def import_openvino() -> Any:
    """OpenVINO's runtime. Without its telemetry, which counts each import in the user's home and tells its makers.

    Raises:
        ImportError: if it is not there.
    """
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))  # "not installed": it goes on without
    return importlib.import_module("openvino")


def _openvino(path: Path, device: str) -> Graph:
    try:
        openvino = import_openvino()
    except ImportError as e:
        raise missing("an OpenVINO file", "openvino", "openvino") from e
    if device not in ("auto", "cpu"):
        raise UserError(f"{path} is used on the CPU, not on the device '{device}'", CPU)
    with _loading(path, "an OpenVINO file, with its .bin beside it,"):
        core = openvino.Core()
        model = core.read_model(str(path))
        facts = {key: _text(model, key) for key in NAMES if model.has_rt_info([OPENVINO_FACTS, key])}
        # Left to itself it computes in bfloat16 where the processor can: 5e-3 off.
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled(np.ascontiguousarray(images))[0])

    def check(n_classes: int, side: int) -> None:
        ends = [
            (p.any_name, p.element_type.get_type_name(), str(p.partial_shape)) for p in model.inputs + model.outputs
        ]
        if ends != [("image", "u8", f"[?,{side},{side},3]"), ("probs", "f32", f"[?,{n_classes}]")]:
            raise ModelError(f"{path} is not a classifier of imgclf: it has {ends}")

    return Graph(facts, run, check)


def _text(model: Any, key: str) -> str:
    return str(model.get_rt_info([OPENVINO_FACTS, key]).astype(str))


def _torch_export(path: Path) -> Graph:
    import torch

    extra: dict[str, Any] = dict.fromkeys(NAMES, "")  # an empty one is not filled
    with _loading(path, "a torch.export archive"):
        module = torch.export.load(path, extra_files=extra).module()
        facts = _texts(extra)
    return _torch_graph(path, module, facts)


def _torchscript(path: Path) -> Graph:
    import torch

    extra: dict[str, Any] = dict.fromkeys(NAMES, "")
    with _loading(path, "a TorchScript file"):
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        facts = _texts(extra)
    return _torch_graph(path, module, facts)


def _texts(extra: dict[str, Any]) -> dict[str, str]:
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in extra.items() if value}


def _torch_graph(path: Path, module: Callable[[Any], Any], facts: dict[str, str]) -> Graph:
    import torch

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(torch.tensor(images)).numpy())

    def check(n_classes: int, side: int) -> None:
        try:
            probs = run(np.zeros((2, side, side, 3), np.uint8))
        except Exception as e:  # whatever the graph does with images it is not for
            raise ModelError(f"{path} does not take images of {side} px: {first_line(e)}") from e
        if probs.shape != (2, n_classes) or probs.dtype != np.float32:
            raise ModelError(f"{path} answers 2 images with {probs.dtype} {probs.shape}, not float32 (2, {n_classes})")

    return Graph(facts, run, check)


@contextlib.contextmanager
def _loading(path: Path, what: str) -> Iterator[None]:
    """torch logs and warns while it reads; what it cannot read is the file's fault."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as e:  # many kinds: archive, pickle, schema
        raise ModelError(f"{path} is not {what} of imgclf: {first_line(e).split('. ')[0]}") from e
    finally:
        logging.disable(before)
