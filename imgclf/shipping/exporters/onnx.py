"""The model as one ONNX file that takes pixels and gives calibrated probabilities: for other programs and languages."""

import importlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgclf import runs
from imgclf.errors import ExportError, first_line, missing
from imgclf.shipping import bundle as bundles
from imgclf.shipping.exporters import pixels
from imgclf.shipping.record import Record

OPSET = 18  # of December 2022; read by onnxruntime from 1.14 on
NAMES: dict[str, Any] = {"input_names": ["image"], "output_names": ["probs"], "opset_version": OPSET}


def export(bundle: Path, target: Path, trust: bool = False, half: bool = False) -> Path:
    """Write it, with classes and preprocessing in its metadata and the weights inside.

    Args:
        half: In 16 bits: half the size. onnxruntime computes it in 32 on a processor all the same.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if torch cannot express the model.
        PackageError: if a package is missing.
    """
    need()
    net, record = bundles.load(bundle, trust)
    proto = convert(net, record, half)
    describe(proto, pixels.metadata(record))
    return runs.atomic_write(target, lambda path: path.write_bytes(proto.SerializeToString()))


def convert(net: nn.Module, record: Record, half: bool = False) -> Any:
    """Pixels to probabilities as an ONNX model; raises as ``export`` does."""
    return _convert(pixels.PixelsToProbs(net, record, half).eval(), record.preprocess.size)


def describe(proto: Any, facts: dict[str, str]) -> None:
    """Put the facts into the metadata, and check the whole; raises ``ExportError`` if it is not valid."""
    onnx = need()
    onnx.helper.set_model_props(proto, facts)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise ExportError(f"torch wrote an ONNX graph that is not valid: {first_line(e)}") from e


def need() -> Any:
    """The onnx package, after a look whether the others are there too."""
    for name in ("onnxscript", "onnxruntime", "onnx"):
        try:
            module = importlib.import_module(name)
        except ImportError as e:
            raise missing("exporting to ONNX", name, "onnx") from e
    return module


def _convert(model: nn.Module, side: int) -> Any:
    example = pixels.example(side)
    with pixels.quiet():
        try:
            return _plain(_by_program(model, example) if _has_new_exporter() else _by_trace(model, example))
        except Exception as e:  # torch raises its own of many kinds; the cause stays attached
            raise ExportError(f"torch cannot write this model as ONNX: {first_line(e)}") from e


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
