"""The ONNX file that takes images of any size: our resizing in the graph, from file bytes to probabilities."""

import json

import numpy as np
import pytest
from PIL import Image
from support import ROOT, noise, picture, traces

from imgclf.data.images import Preprocess
from imgclf.errors import ExportError, ModelError
from imgclf.shipping import exporters, graphs, inference, verify

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

BUNDLES = ROOT / "tests" / "data" / "bundles" / "v1"
SIZES = [(500, 375), (375, 500), (40, 33), (64, 64), (65, 64), (300, 20), (7, 90), (1, 30), (1024, 768)]


@pytest.mark.parametrize(
    ("rule", "share"), [("crop", 1.0), ("crop", 0.875), ("crop", 0.9), ("crop", 1 / 3), ("pad", 1.0), ("squish", 1.0)]
)
def test_the_graph_resizes_as_pillow_does(rule, share):
    from imgclf.shipping.exporters import full

    preprocess = Preprocess(64, rule, crop_pct=share)
    session = onnxruntime.InferenceSession(full.fitting(preprocess).SerializeToString())
    for i, (width, height) in enumerate(SIZES):
        image = (noise if i % 2 else picture)(width, height, seed=i)
        [found] = session.run(None, {"image": np.asarray(image)[None]})[0]
        off = np.abs(found.astype(int) - np.asarray(preprocess.fit(image)))
        assert off.max() <= 2 and off.mean() < 0.1, (width, height)


@pytest.fixture(scope="module", params=["single", "multi"])  # crop and RGB, pad and grey
def made(request, tmp_path_factory, photos):
    bundle = BUNDLES / request.param
    file = exporters.export(bundle, "onnx-full", tmp_path_factory.mktemp("full") / "model.full.onnx")
    return bundle, file, verify.check(file, "onnx-full", bundle, photos, timed=True)


def test_files_of_any_size_give_the_models_answers(made, photos):
    bundle, file, parity = made
    assert parity.passed and parity.n_images == len(photos) and parity.max_abs_diff < 0.02
    model, run = inference.load(bundle), graphs.load(file, "cpu", trust=False).run
    for path, answer in zip(photos, model.predict(photos, full_decode=True), strict=True):
        image = np.asarray(Image.open(path).convert("RGB"))
        if path.suffix == ".png":  # as it lies in the file: the others may have to be turned
            np.testing.assert_allclose(run(image[None])[0], answer.probs, atol=0.02)


def test_its_golden_images_are_of_other_sizes_and_are_checked(made):
    _, file, _ = made
    assert verify.verify_golden(file)["checked"] == ["sha256", "golden"]
    facts = json.loads(verify.sidecar(file).read_text(encoding="utf-8"))
    assert facts["latency_ms"]["side"] == 64 and facts["full_decode"]["top1_agreement"] > 0
    rows = facts["golden"]["images"]
    rows[0]["probs"] = rows[0]["probs"][::-1]
    verify.sidecar(file).write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ExportError, match="other answers"):
        verify.verify_golden(file)
    rows[0]["png"] = rows[0]["png"][:40]
    verify.sidecar(file).write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        verify.verify_golden(file)


def test_predict_takes_it_as_any_other(made, photos):
    bundle, file, _ = made
    here, there = inference.load(bundle), inference.load(file)
    assert (there.classes, there.thresholds, there.format) == (here.classes, here.thresholds, "onnx")
    for ours, its in zip(here.predict(photos), there.predict(photos), strict=True):
        np.testing.assert_allclose(its.probs, ours.probs, atol=1e-5)


def test_it_says_nothing_of_the_machine(made):
    assert traces(made[1].parent) == []
