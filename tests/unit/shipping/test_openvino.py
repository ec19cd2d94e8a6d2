"""OpenVINO's pair of files: the model's answers, the two checked as one, and nothing told to anybody."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, need_openvino

from imgclf.errors import ExportError, ModelError, PackageError, UserError
from imgclf.shipping import exporters, graphs, inference, verify

BUNDLES = ROOT / "tests" / "data" / "bundles" / "v1"


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PackageError, match="needs the package openvino") as caught:
        exporters.export(BUNDLES / "single", "openvino", tmp_path / "model.xml")
    assert caught.value.hint == 'pip install "imgclf[openvino]"'
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(PackageError, match="needs the package openvino"):
        inference.load(tmp_path / "model.xml")


@pytest.fixture(scope="module")
def offline():
    """No socket is connected while files are made and used."""

    def refuse(*_):
        raise AssertionError("the network was used")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="module", params=["single", "multi"])
def made(request, tmp_path_factory, photos, offline):
    need_openvino()
    pytest.importorskip("onnxscript")
    bundle = BUNDLES / request.param
    file = exporters.export(bundle, "openvino", tmp_path_factory.mktemp("openvino") / "model.xml")
    return bundle, file, verify.check(file, "openvino", bundle, photos, timed=True)


def test_it_gives_the_models_answers(made, photos):
    bundle, file, parity = made
    assert parity.passed and parity.max_abs_diff < 1e-5
    assert sorted(p.name for p in file.parent.iterdir()) == ["model.bin", "model.xml", "model.xml.json"]
    here, there = inference.load(bundle), inference.load(file)
    assert (there.format, there.classes, there.task, there.thresholds) == (
        "openvino", here.classes, here.task, here.thresholds,
    )  # fmt: skip
    assert there.preprocess == here.preprocess
    ours, its = (np.stack([p.probs for p in m.predict(photos, batch_size=4)]) for m in (here, there))
    np.testing.assert_allclose(its, ours, atol=1e-5)


def test_both_files_are_verified(made, tmp_path):
    _, file, _ = made
    copy = Path(shutil.copytree(file.parent, tmp_path / "copy")) / file.name
    assert verify.verify_golden(copy)["checked"] == ["sha256", "golden"]
    weights = bytearray(graphs.companion(copy).read_bytes())
    weights[len(weights) // 2] ^= 1
    graphs.companion(copy).write_bytes(weights)
    with pytest.raises(ExportError, match="SHA-256"):
        verify.verify_golden(copy)
    graphs.companion(copy).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        verify.verify_golden(copy)
    with pytest.raises(ModelError, match=r"with its \.bin beside it"):
        inference.load(copy)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"<net/>", b'<?xml version="1.0"?><net version="11"><layers/></net>']
)
def test_what_is_no_such_file_is_refused(content, tmp_path):
    need_openvino()
    (tmp_path / "x.xml").write_bytes(content)
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(ModelError):
        inference.load(tmp_path / "x.xml")


def test_it_is_used_on_the_cpu_without_torch_and_leaves_nothing_at_home(made, photos, tmp_path):
    with pytest.raises(UserError, match="on the CPU"):
        inference.load(made[1], "cuda")
    code = (
        "import sys; from imgclf.shipping import inference;"
        "[p] = inference.load(sys.argv[1]).predict([sys.argv[2]]); assert p.label or p.labels, p;"
        "assert not {'torch', 'fastai'} & set(sys.modules)"
    )
    env = {**os.environ, "HOME": str(tmp_path)}  # where its telemetry would count the imports
    subprocess.run([sys.executable, "-c", code, made[1], photos[0]], check=True, cwd=ROOT, env=env)
    assert [p for p in tmp_path.rglob("*") if "cache" not in str(p)] == []
