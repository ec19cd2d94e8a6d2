"""The model as a TorchScript ``.pt`` file, for programs that load one already, such as libtorch in C++.

torch calls TorchScript deprecated: new programs do better with ``torch-export`` or ``onnx``.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from imgclf import runs
from imgclf.errors import ExportError, first_line
from imgclf.shipping import bundle as bundles
from imgclf.shipping.exporters import pixels


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it, for any number of images at a time; classes and preprocessing are in its extra files.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if torch cannot express the model, or no longer has TorchScript.
    """
    net, record = bundles.load(bundle, trust)
    model = pixels.PixelsToProbs(net, record).eval()
    with pixels.quiet():
        try:
            with torch.inference_mode():
                script = torch.jit.trace(model, pixels.example(record.preprocess.size), check_trace=False)
        except Exception as e:  # torch raises its own of many kinds; the cause stays attached
            raise ExportError(f"torch cannot write this model as TorchScript: {first_line(e)}") from e
        buffer: Any = io.BytesIO()  # written to a file, the archive would hold the file's name
        torch.jit.save(script, buffer, _extra_files=pixels.metadata(record))
    return runs.atomic_write(target, lambda path: path.write_bytes(_plain(buffer)))


def _plain(archive: io.BytesIO) -> bytes:
    """Without torch's notes on where each operation came from: they hold paths of this machine."""
    plain = io.BytesIO()
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(entry, source.read(entry))
    return plain.getvalue()
