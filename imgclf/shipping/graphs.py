"""Files that hold a finished graph, pixels to probabilities: ONNX, ``torch.export`` and TorchScript.

For an ONNX file torch is not imported.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imgclf.errors import ModelError, UserError

Format = Literal["onnx", "torch-export", "torchscript"]
FORMATS: dict[str, Format] = {".onnx": "onnx", ".pt2": "torch-export", ".pt": "torchscript"}


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
    if not trust:
        raise ModelError(
            f"{path} can run code when torch loads it; it is loaded only if you say that you trust it",
            "--trust, if you know where the file comes from; .onnx and .safetensors files need no trust",
        )
    if device not in ("auto", "cpu"):
        raise UserError(f"{path} is used on the CPU, not on the device '{device}'", "--device cpu, or use the run")
    return _torch_export(path) if fmt == "torch-export" else _torchscript(path)


def _onnx(path: Path, device: str) -> Graph:
    session = _onnx_session(path, device)
    found_in = [(i.name, i.type, list(i.shape)[1:]) for i in session.get_inputs()]
    found_out = [(o.name, o.type, list(o.shape)[1:]) for o in session.get_outputs()]
    any_size = found_in == [("image", "tensor(uint8)", ["height", "width", 3])]  # then one image at a time

    def run(images: np.ndarray) -> np.ndarray:
        parts = np.split(images, len(images)) if any_size and len(images) > 1 else [images]
        return np.concatenate([session.run(["probs"], {"image": np.ascontiguousarray(part)})[0] for part in parts])

    def check(n_classes: int, side: int) -> None:
        if (found_in != [("image", "tensor(uint8)", [side, side, 3])] and not any_size) or found_out != [
            ("probs", "tensor(float)", [n_classes])
        ]:
            raise ModelError(f"{path} is not a classifier of imgclf: it maps {found_in} to {found_out}")

    return Graph(dict(session.get_modelmeta().custom_metadata_map), run, check)


def _onnx_session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise ModelError("an ONNX file needs onnxruntime", 'pip install "imgclf[onnx]"') from e
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: the result is ours to report
    wanted = "CPUExecutionProvider" if device in ("auto", "cpu") else "CUDAExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        raise UserError(
            f"this onnxruntime cannot use the device '{device}'", "pip install onnxruntime-gpu, or --device cpu"
        )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as e:  # its own exception classes share no base but Exception
        raise ModelError(f"{path} is not a whole ONNX file: {str(e).splitlines()[0][:200]}") from e


NAMES = ("classes", "preprocess", "task", "thresholds", "abstention")


def _torch_export(path: Path) -> Graph:
    import torch

    extra: dict[str, Any] = dict.fromkeys(NAMES, "")  # an empty one is not filled
    with _loading(path, "a torch.export archive"):
        module = torch.export.load(path, extra_files=extra).module()
    return _torch_graph(path, module, extra)


def _torchscript(path: Path) -> Graph:
    import torch

    extra: dict[str, Any] = dict.fromkeys(NAMES, "")
    with _loading(path, "a TorchScript file"):
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    return _torch_graph(path, module, extra)


def _torch_graph(path: Path, module: Callable[[Any], Any], extra: dict[str, Any]) -> Graph:
    import torch

    facts = {key: value.decode() if isinstance(value, bytes) else value for key, value in extra.items() if value}

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(torch.tensor(images)).numpy())

    def check(n_classes: int, side: int) -> None:
        try:
            probs = run(np.zeros((2, side, side, 3), np.uint8))
        except Exception as e:  # whatever the graph does with images it is not for
            raise ModelError(f"{path} does not take images of {side} px: {str(e).splitlines()[0][:200]}") from e
        if probs.shape != (2, n_classes) or probs.dtype != np.float32:
            raise ModelError(f"{path} answers 2 images with {probs.dtype} {probs.shape}, not float32 (2, {n_classes})")

    return Graph(facts, run, check)


@contextmanager
def _loading(path: Path, what: str) -> Iterator[None]:
    """torch logs and warns while it reads; what it cannot read is the file's fault."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as e:  # many kinds: archive, pickle, schema
        reason = (str(e) or type(e).__name__).splitlines()[0].split(". ")[0]
        raise ModelError(f"{path} is not {what} of imgclf: {reason[:200]}") from e
    finally:
        logging.disable(before)
