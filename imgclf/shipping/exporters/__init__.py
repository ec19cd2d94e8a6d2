"""The forms a trained model can be given away in: one file each."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from imgclf.errors import ExportError, UserError, did_you_mean
from imgclf.shipping.exporters import full, int8, onnx, openvino, pkl, safetensors, torch_export, torchscript

# Each takes a bundle (folder or file), the file to write, and whether a custom head's code may run; returns the file.
FORMATS: dict[str, Callable[[Path, Path, bool], Path]] = {
    "safetensors": safetensors.export,
    "onnx": onnx.export,
    "openvino": openvino.export,
    "torch-export": torch_export.export,
    "torchscript": torchscript.export,
    "pkl": pkl.export,
}
# What `--fp16`, `--int8` and `--full-preprocess` make of the ONNX file.
SMALLER = ("onnx-fp16", "onnx-int8")
VARIANTS = (*SMALLER, "onnx-full")


def export(bundle: Path, fmt: str, target: Path, trust: bool = False, calibration: Sequence[np.ndarray] = ()) -> Path:
    """Write the model of ``bundle`` to ``target`` in the format ``fmt``.

    Whether the file gives the model's answers is for ``verify.check`` to say.

    Args:
        calibration: For ``onnx-int8``: training images, uint8 RGB (S, S, 3) at the model's size.

    Raises:
        UserError: for an unknown format.
        ModelError: if the bundle cannot be read.
        ExportError: if it cannot be written in this format, or not to this place.
    """
    if fmt not in (*FORMATS, *VARIANTS):
        raise UserError(f"unknown format '{fmt}'.{did_you_mean(fmt, FORMATS)}", f"formats: {', '.join(FORMATS)}")
    try:
        if fmt == "onnx-fp16":
            return onnx.export(bundle, target, trust, half=True)
        if fmt == "onnx-int8":
            return int8.export(bundle, target, trust, calibration)
        if fmt == "onnx-full":
            return full.export(bundle, target, trust)
        return FORMATS[fmt](bundle, target, trust)
    except OSError as e:
        raise ExportError(f"cannot write {target}: {e.strerror or e}", "choose another place with --out") from e
