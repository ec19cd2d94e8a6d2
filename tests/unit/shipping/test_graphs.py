"""The formats of torch itself: loaded only if trusted, by torch alone, and without a trace of this machine."""

import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgclf.data.images import Preprocess
from imgclf.errors import ExportError, ModelError, UserError
from imgclf.shipping import exporters, graphs, inference, verify
from imgclf.workflow.export import SUFFIXES

TORCH = ("torch-export", "torchscript")


@pytest.fixture(scope="module")
def files(model, photos, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    made = {fmt: exporters.export(model, fmt, folder / f"model{SUFFIXES[fmt]}") for fmt in TORCH}
    for fmt, file in made.items():
        assert verify.check(file, fmt, model, photos).passed
    return made


IN_TORCH = """
import json, sys, warnings
import numpy as np, torch
sys.modules["imgclf"] = None
warnings.simplefilter("ignore")
images = torch.from_numpy(np.load(sys.argv[1]))
found = {}
for path in sys.argv[2:]:
    extra = {"classes": "", "preprocess": ""}
    if path.endswith(".pt2"):
        model = torch.export.load(path, extra_files=extra).module()
    else:
        model = torch.jit.load(path, _extra_files=extra)
    with torch.inference_mode():
        probs = model(images)
        assert torch.allclose(model(images[:1]), probs[:1], atol=1e-5)
    found[path] = [probs.tolist(), {k: v if isinstance(v, str) else v.decode() for k, v in extra.items()}]
print(json.dumps(found))
"""


def test_torch_alone_reads_them(files, model, photos, tmp_path):
    ours = inference.load(model)
    images = np.stack([ours.preprocess.load(path) for path in photos])
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", IN_TORCH, tmp_path / "images.npy", *files.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for probs, extra in json.loads(done.stdout).values():
        np.testing.assert_allclose(probs, ours.probs(images), atol=1e-5)
        assert json.loads(extra["classes"]) == list(ours.classes)
        assert Preprocess.from_dict(json.loads(extra["preprocess"])) == ours.preprocess


@pytest.mark.parametrize("fmt", TORCH)
def test_they_hold_no_paths_of_this_machine(files, fmt, model):
    places = [str(p).encode() for p in (Path(torch.__file__).parents[1], Path(graphs.__file__).parents[2], model)]
    with zipfile.ZipFile(files[fmt]) as archive:
        assert [name for name in archive.namelist() if name.startswith(".model")] == []  # a temporary file's
        held = [name for name in archive.namelist() if any(place in archive.read(name) for place in places)]
    assert held == []


@pytest.mark.parametrize("fmt", TORCH)
def test_without_trust_only_the_hash_is_checked(files, fmt):
    with pytest.raises(ModelError, match="can run code") as caught:
        inference.load(files[fmt])
    assert "--trust" in caught.value.hint
    assert verify.verify_golden(files[fmt])["checked"] == ["sha256"]
    assert verify.verify_golden(files[fmt], trust=True)["checked"] == ["sha256", "golden"]


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_code_in_an_archive_is_not_run_unasked(files, tmp_path):
    """Why trust is asked for: torch's loader falls back to full pickles."""
    marker, hostile = tmp_path / "ran", tmp_path / "model.pt2"
    with zipfile.ZipFile(files["torch-export"]) as source, zipfile.ZipFile(hostile, "w") as target:
        for entry in source.infolist():
            bomb = "sample_inputs" in entry.filename
            target.writestr(entry, pickle.dumps(Bomb(marker)) if bomb else source.read(entry))
    with pytest.raises(ModelError, match="can run code"):
        inference.load(hostile)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage", pickle.dumps({"a": 1})])
def test_what_is_no_such_file_is_refused(tmp_path, suffix, content, capfd):
    file = tmp_path / f"model{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="is not a"):
        inference.load(file, trust=True)
    assert capfd.readouterr() == ("", "")


def script(path: Path, module: nn.Module, **facts: object) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
        torch.jit.save(traced, str(path), _extra_files={k: json.dumps(v) for k, v in facts.items()})
    return path


class Mean(nn.Module):
    def forward(self, image):
        return image.float().mean((1, 2))


FACTS = {"classes": ["a", "b", "c"], "preprocess": Preprocess(size=4).to_dict()}


def test_files_of_others_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not exported by imgclf"):
        inference.load(script(tmp_path / "other.pt", Mean()), trust=True)
    two = script(tmp_path / "two.pt", Mean(), **{**FACTS, "classes": ["a", "b"]})
    with pytest.raises(ModelError, match=r"\(2, 3\), not float32 \(2, 2\)"):
        inference.load(two, trust=True)
    fits = script(tmp_path / "fits.pt", Mean(), **FACTS)
    assert inference.load(fits, trust=True).format == "torchscript"


def test_facts_that_are_no_text_are_refused(tmp_path):
    file = tmp_path / "m.pt"
    torch.jit.save(torch.jit.script(Mean()), str(file), _extra_files={"classes": b"\xff\xfe", "preprocess": b"{}"})
    with pytest.raises(ModelError, match="is not a TorchScript file of imgclf"):
        inference.load(file, trust=True)


@pytest.mark.parametrize(
    ("device", "provider"),
    [
        ("auto", ("CPUExecutionProvider", {})), ("cpu", ("CPUExecutionProvider", {})),
        ("cuda", ("CUDAExecutionProvider", {"device_id": "0"})),
        ("cuda:3", ("CUDAExecutionProvider", {"device_id": "3"})),
    ],
)  # fmt: skip
def test_an_onnx_file_is_used_on_the_device_named(device, provider, monkeypatch, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    asked = []
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(runtime, "InferenceSession", lambda *_, providers: asked.append(providers))
    graphs._onnx_session(tmp_path / "m.onnx", device)
    assert asked == [[provider]]


def test_a_device_onnxruntime_has_no_word_for(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="on the CPU or with CUDA, not on the device 'mps'") as caught:
        graphs._onnx_session(tmp_path / "m.onnx", "mps")
    assert "onnxruntime-gpu" not in caught.value.hint


def test_they_are_used_on_the_cpu(tmp_path):
    with pytest.raises(UserError, match="on the CPU, not on the device 'cuda'"):
        inference.load(script(tmp_path / "m.pt", Mean(), **FACTS), "cuda", trust=True)


@pytest.mark.parametrize("fmt", TORCH)
def test_a_model_torch_cannot_express_is_an_export_error(model, tmp_path, monkeypatch, fmt):
    def refuse(self, image):
        raise RuntimeError("no such operator\nsecond line")

    monkeypatch.setattr("imgclf.shipping.exporters.pixels.PixelsToProbs.forward", refuse)
    with pytest.raises(ExportError, match=r"no such operator$"):
        exporters.export(model, fmt, tmp_path / f"m{SUFFIXES[fmt]}")
    assert not list(tmp_path.iterdir())


def test_onnx_metadata_that_is_no_text_is_refused_without_a_word(tmp_path, capfd):
    """onnxruntime decodes it when it is asked for, and prints when a file fails and it tries again."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.UINT8
    ends = [helper.make_tensor_value_info(name, kind, ["n", 4, 4, 3]) for name in ("image", "probs")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["probs"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"classes": "é" * 9})
    file = tmp_path / "m.onnx"
    for harmed in ("é".encode() * 9, b"\xff" * 18), (b"Identity", b"Idextity"):
        file.write_bytes(model.SerializeToString().replace(*harmed))
        with pytest.raises(ModelError):
            inference.load(file)
    assert capfd.readouterr().out == ""
