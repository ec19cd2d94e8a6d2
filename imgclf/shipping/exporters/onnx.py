"""The model as one ONNX file that takes pixels and gives calibrated probabilities.

Scaling, normalisation, temperature and softmax (for several labels an image: sigmoid) are in the graph, so that its
users cannot get them wrong.
"""

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgclf import runs
from imgclf.errors import ExportError
from imgclf.shipping import bundle as bundles
from imgclf.shipping import layers
from imgclf.shipping.record import Record

OPSET = 18  # of December 2022; read by onnxruntime from 1.14 on
NAMES: dict[str, Any] = {"input_names": ["image"], "output_names": ["probs"], "opset_version": OPSET}


class PixelsToProbs(nn.Module):
    """uint8 RGB (N, H, W, 3) to calibrated probabilities (N, C) float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, record: Record) -> None:
        super().__init__()
        self.net = net
        self.temperature = record.temperature
        self.multi = record.task == "multi"
        self.register_buffer("mean", torch.tensor(record.preprocess.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(record.preprocess.std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits = self.net(layers.model_input(image, self.mean, self.std)) / self.temperature
        return torch.sigmoid(logits) if self.multi else torch.softmax(logits, 1)


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it, with classes and preprocessing in its metadata and the weights inside.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if a package is missing, or torch cannot express the model.
    """
    onnx = _need()
    net, record = bundles.load(bundle, trust)
    proto = _convert(PixelsToProbs(net, record).eval(), record.preprocess.size)
    onnx.helper.set_model_props(proto, _metadata(record))
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise ExportError(f"torch wrote an ONNX graph that is not valid: {str(e).splitlines()[0][:200]}") from e
    return runs.atomic_write(target, lambda path: path.write_bytes(proto.SerializeToString()))


def _need() -> Any:
    """The onnx package, after a look whether the others are there too."""
    for name in ("onnxscript", "onnxruntime", "onnx"):
        try:
            module = importlib.import_module(name)
        except ImportError as e:
            raise ExportError(f"exporting to ONNX needs the package {name}", 'pip install "imgclf[onnx]"') from e
    return module


def _convert(model: nn.Module, side: int) -> Any:
    # Two images, as torch.export takes a size of 1 for a constant.
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with _quiet():
        try:
            return _plain(_by_program(model, example) if _has_new_exporter() else _by_trace(model, example))
        except Exception as e:  # torch raises its own of many kinds; the cause stays attached
            raise ExportError(f"torch cannot write this model as ONNX: {str(e).splitlines()[0][:200]}") from e


def _has_new_exporter() -> bool:
    """Since torch 2.9 the exporter over torch.export is the default; before, it fails with newer onnxscript."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (2, 9)


def _by_program(model: nn.Module, example: Tensor) -> Any:
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        verbose=False,
        **NAMES,
    )
    if program is None:
        raise ExportError("it wrote no program")
    return program.model_proto


def _by_trace(model: nn.Module, example: Tensor) -> Any:
    import onnx

    buffer: Any = io.BytesIO()  # taken, though the type hints say paths only
    batch = {"image": {0: "batch"}, "probs": {0: "batch"}}
    torch.onnx.export(model, (example,), buffer, dynamo=False, dynamic_axes=batch, **NAMES)
    return onnx.load_from_string(buffer.getvalue())


def _plain(proto: Any) -> Any:
    """Without torch's notes on where each node came from: they hold source lines and paths of this machine."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        if hasattr(part, "doc_string"):
            part.doc_string = ""
    return proto


def _metadata(record: Record) -> dict[str, str]:
    facts = {
        "classes": list(record.classes),
        "preprocess": record.preprocess.to_dict(),
        "imgclf_version": record.imgclf_version,
        "temperature": record.temperature,
        "task": record.task,
        "thresholds": record.cutoffs,
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints, warns and logs about its own inner workings; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
