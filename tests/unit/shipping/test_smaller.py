"""The ONNX file in 16 and in 8 bits: smaller, nearly the same answers, the same metadata."""

import json

import numpy as np
import pytest
from support import traces

from imgclf.errors import ExportError
from imgclf.shipping import exporters, inference, verify
from imgclf.shipping.exporters import int8

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def made(model, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smaller")
    pixels = [inference.load(model).preprocess.load(path) for path in photos]
    return {
        fmt: exporters.export(model, fmt, folder / f"model.{fmt}.onnx", calibration=pixels)
        for fmt in ("onnx", *exporters.SMALLER)
    }


@pytest.mark.parametrize(("fmt", "share"), [("onnx-fp16", 0.51), ("onnx-int8", 0.5)])  # the head is left as it is
def test_smaller_files_give_nearly_the_same_answers(made, model, photos, fmt, share):
    file = made[fmt]
    assert file.stat().st_size < share * made["onnx"].stat().st_size
    result = verify.check(file, fmt, model, photos)
    assert result.passed and result.max_abs_diff > 1e-5  # else nothing was made smaller
    assert verify.verify_golden(file)["checked"] == ["sha256", "golden"]
    facts = json.loads(verify.sidecar(file).read_text(encoding="utf-8"))
    expected = [image["probs"] for image in facts["golden"]["images"]]
    predictor = inference.load(file)
    found = predictor.probs(np.stack([predictor.preprocess.load(path) for path in photos[:3]]))
    np.testing.assert_allclose(found, expected, atol=1e-5)  # the file's own answers, not the model's


def test_they_say_nothing_of_the_machine(made):
    assert traces(made["onnx"].parent) == []


@pytest.mark.parametrize("fmt", exporters.SMALLER)
def test_the_metadata_is_that_of_the_plain_file(made, fmt):
    plain, small = (onnx.load(made[f]) for f in ("onnx", fmt))
    assert [(p.key, p.value) for p in small.metadata_props] == [(p.key, p.value) for p in plain.metadata_props]


def test_eight_bits_are_per_channel_and_leave_the_first_quarter(made):
    graph = onnx.load(made["onnx-int8"]).graph
    made_by = {out: node for node in graph.node for out in node.output}
    sizes = {t.name: list(t.dims) for t in graph.initializer}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    weights = [made_by.get(node.input[1]) for node in convs]
    assert len(convs) == 10 and weights[:2] == [None] * 2
    assert {node.op_type for node in weights[2:]} == {"DequantizeLinear"}
    scales = [sizes[node.input[1]] for node in weights[2:]]
    assert scales == [[sizes[node.input[0]][0]] for node in weights[2:]]


def test_a_model_that_cannot_be_quantised_is_an_export_error(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(int8._Reader, "get_next", lambda self: {"picture": None})
    with pytest.raises(ExportError, match="cannot quantise"):
        exporters.export(model, "onnx-int8", tmp_path / "m.onnx", calibration=[])
    assert not list(tmp_path.iterdir())
