"""The model as OpenVINO's own pair of files, ``.xml`` and ``.bin``, for Intel's processors and what else that runs on.

Read from the ONNX graph by OpenVINO's runtime alone, without its converter.
"""

import tempfile
from pathlib import Path
from typing import Any

from imgclf import runs
from imgclf.errors import ExportError, first_line, missing
from imgclf.shipping import bundle as bundles
from imgclf.shipping.exporters import onnx, pixels
from imgclf.shipping.graphs import OPENVINO_FACTS, companion, import_openvino


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write both, weights first; classes and preprocessing are in the ``.xml``.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if torch or OpenVINO cannot express the model.
        PackageError: if a package is missing.
    """
    openvino = _need()
    onnx.need()
    net, record = bundles.load(bundle, trust)
    proto = onnx.convert(net, record)
    with tempfile.TemporaryDirectory() as folder, pixels.quiet():
        plain = Path(folder, "model.xml")
        try:
            model = openvino.Core().read_model(proto.SerializeToString())
            for key, value in pixels.metadata(record).items():
                model.set_rt_info(value, [OPENVINO_FACTS, key])
            openvino.save_model(model, str(plain), compress_to_fp16=False)
        except Exception as e:  # its own of many kinds; the cause stays attached
            raise ExportError(f"OpenVINO cannot read this model: {first_line(e)}") from e
        weights, text = companion(plain).read_bytes(), plain.read_bytes()
    runs.atomic_write(companion(target), lambda path: path.write_bytes(weights))
    return runs.atomic_write(target, lambda path: path.write_bytes(text))


def _need() -> Any:
    try:
        return import_openvino()
    except ImportError as e:
        raise missing("exporting to OpenVINO", "openvino", "openvino") from e
