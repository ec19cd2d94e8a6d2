"""The model as a ``.pt2`` archive of ``torch.export``, for programs with torch and for compilers."""

import io
from pathlib import Path
from typing import Any

import torch

from imgclf import runs
from imgclf.errors import ExportError, first_line
from imgclf.shipping import bundle as bundles
from imgclf.shipping.exporters import pixels

MOST = 2**31 - 1  # images at a time; without a limit torch 2.6 cannot prove that no slice of a grey model ends there


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it, for any number of images at a time; classes and preprocessing are in its extra files.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if torch cannot express the model.
    """
    net, record = bundles.load(bundle, trust)
    model = pixels.PixelsToProbs(net, record).eval()
    shapes = ({0: torch.export.Dim("batch", min=1, max=MOST)},)
    with pixels.quiet():
        try:
            example = (pixels.example(record.preprocess.size),)
            program = _plain(torch.export.export(model, example, dynamic_shapes=shapes, strict=False))
        except Exception as e:  # torch raises its own of many kinds; the cause stays attached
            raise ExportError(f"torch cannot export this model: {first_line(e)}") from e
        buffer: Any = io.BytesIO()  # written to a file, the archive would hold the file's name
        torch.export.save(program, buffer, extra_files=pixels.metadata(record))
    return runs.atomic_write(target, lambda path: path.write_bytes(buffer.getvalue()))


def _plain(program: "torch.export.ExportedProgram") -> "torch.export.ExportedProgram":
    """Without torch's notes on where each node came from: they hold source lines and paths of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program
