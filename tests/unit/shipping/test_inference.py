import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgclf import runs
from imgclf.data.images import Preprocess
from imgclf.errors import DataError, ModelError, UserError
from imgclf.shipping import forward, inference
from imgclf.shipping.gradcam import heatmaps
from imgclf.shipping.inference import images_under


@pytest.fixture(scope="module")
def predictor(model):
    return inference.load(model)


@pytest.fixture(scope="module")
def pixels(predictor, photos):
    return np.stack([predictor.preprocess.load(p) for p in photos])


def test_answers_are_those_of_the_network(predictor, net, pixels):
    p = predictor.preprocess
    x = (torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(p.mean).view(3, 1, 1)) / torch.tensor(
        p.std
    ).view(3, 1, 1)
    with torch.no_grad():
        logits = net(x)
    np.testing.assert_allclose(predictor.logits(pixels), logits, atol=1e-5)
    np.testing.assert_allclose(predictor.probs(pixels), (logits / 0.3).softmax(1), atol=1e-5)
    assert logits.argmax(1).unique().numel() > 1  # else this would prove little


def test_one_image_gives_what_it_gives_in_a_batch(predictor, pixels, photos):
    batch = predictor.probs(pixels)
    alone = np.concatenate([predictor.probs(image[None]) for image in pixels])
    np.testing.assert_allclose(alone, batch, atol=1e-5)
    many = forward.IN_CACHE // len(pixels) + 2  # more than are computed at once
    np.testing.assert_allclose(predictor.probs(np.tile(pixels, (many, 1, 1, 1))), np.tile(batch, (many, 1)), atol=1e-5)
    for size in (1, 2, 64):
        streamed = np.stack([p.probs for p in predictor.predict(photos, batch_size=size)])
        np.testing.assert_allclose(streamed, batch, atol=1e-5)


def test_a_prediction_is_complete_and_consistent(predictor, photos):
    [p] = predictor.predict([photos[0]])
    assert p.label == predictor.classes[p.probs.argmax()] and p.prob == pytest.approx(p.probs.max())
    assert p.probs.sum() == pytest.approx(1, abs=1e-6) and p.probs.dtype == np.float32
    assert p.error is None


def test_rows_are_plain_and_sorted(predictor, photos):
    [p] = predictor.predict([str(photos[0])])
    row = p.to_row(predictor.classes)
    assert row.keys() == {"path", "label", "prob", "probs"} and row["path"] == str(photos[0])
    assert list(row["probs"].values()) == sorted(row["probs"].values(), reverse=True)
    assert set(row["probs"]) == set(predictor.classes) and next(iter(row["probs"])) == row["label"]
    assert list(p.to_row(predictor.classes, top_k=2)["probs"]) == list(row["probs"])[:2]
    json.dumps(row)


def test_an_unreadable_file_gives_a_row_and_the_others_their_answers(predictor, photos, tmp_path):
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.png"
    text.write_text("not an image")
    cut.write_bytes(photos[0].read_bytes()[:300])
    mixed = [photos[0], text, tmp_path / "missing.jpg", cut, tmp_path, photos[1]]
    found = list(predictor.predict(mixed, batch_size=2))
    assert [p.path for p in found] == mixed
    assert [p.error is None for p in found] == [True, False, False, False, False, True]
    row = found[1].to_row(predictor.classes)
    assert row == {"path": str(text), "error": "not an image, or of a kind Pillow does not know"}
    assert found[2].error == "No such file or directory"


def test_orientation_is_applied(predictor, photos, tmp_path):
    upright = tmp_path / "upright.png"
    with Image.open(photos[-1]) as image:
        image.transpose(Image.Transpose.ROTATE_270).save(upright)
        sideways = tmp_path / "sideways.png"
        image.save(sideways, exif=b"")
    marked, turned, ignored = predictor.predict([photos[-1], upright, sideways])
    np.testing.assert_allclose(marked.probs, turned.probs, atol=1e-5)
    assert np.abs(marked.probs - ignored.probs).max() > 1e-3


def test_no_files_give_no_answers(predictor):
    assert list(predictor.predict([])) == []
    assert predictor.probs(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8), np.zeros((1, 32, 32, 3), np.uint8)],
    ids=["float", "one image", "other size"],
)
def test_other_arrays_are_refused(predictor, images):
    with pytest.raises(ValueError, match="uint8"):
        predictor.logits(images)


def test_prediction_streams_with_a_bounded_look_ahead(predictor, photos):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield photos[taken % len(photos)]

    stream = predictor.predict(endless(), batch_size=2, workers=2)
    for _ in range(5):
        next(stream)
    stream.close()
    assert 5 <= taken <= 5 + 3 * 2
    deadline = time.time() + 5
    while any(t.name.startswith("decode") for t in threading.enumerate()) and time.time() < deadline:
        time.sleep(0.01)
    assert not any(t.name.startswith("decode") for t in threading.enumerate())


def test_the_name_and_the_form(model, predictor):
    alone = inference.load(str(model / runs.WEIGHTS))
    assert (predictor.name, predictor.format, predictor.temperature) == (model.name, "bundle", 0.3)
    assert (alone.name, alone.format, alone.classes) == (runs.WEIGHTS, "safetensors", predictor.classes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictor.name = "other"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.pkl", b"cos\nsystem\n(S'true'\ntR.", "runs whatever code"),
        ("model.bin", b"x", "not a model"),
        ("model.onnx", b"\x00garbage", "not a whole ONNX"),
        ("model.onnx", b"", "not a whole ONNX"),
        ("model.safetensors", b"garbage", "not a safetensors"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        inference.load(tmp_path / name)


def test_places_without_a_model_say_what_a_model_is(tmp_path):
    for path in (tmp_path, tmp_path / "nothing", "~nobody-of-that-name/model"):
        with pytest.raises(ModelError) as caught:
            inference.load(path)
        assert ".onnx" in caught.value.hint


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there(model, device):
    with pytest.raises(UserError, match="cannot be used"):
        inference.load(model, device)


def test_half_the_digits_give_nearly_the_same_answers(model, pixels, photos):
    exact, half = inference.load(model), inference.load(model, precision="bf16")
    logits, there = half.logits(pixels), exact.logits(pixels)
    assert half.network[0].body[0].weight.dtype == torch.bfloat16 and logits.dtype == np.float32
    np.testing.assert_allclose(logits, there, atol=0.05 * np.abs(there).max())
    assert not np.array_equal(logits, there)
    [answer] = half.predict(photos[:1])
    assert answer.features.dtype == np.float32 and answer.probs.sum() == pytest.approx(1, abs=1e-5)
    here, other = (heatmaps(predictor, pixels[0], [0, 1, 2]) for predictor in (half, exact))
    assert np.abs(here - other).mean() < 0.02 < here.std()


@pytest.mark.parametrize(
    ("precision", "message"),
    [("fp16", "fp16 is for a GPU, this is cpu"), ("fp8", "there is no 'fp8'. Did you mean")],
)
def test_a_precision_that_cannot_be_had(model, precision, message):
    with pytest.raises(UserError, match=message) as caught:
        inference.load(model, precision=precision)
    assert "bf16" in caught.value.hint


def test_a_finished_graph_has_its_own_precision(model, tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"model\.onnx is a finished graph"):
        inference.load(tmp_path / "model.onnx", precision="bf16")


def test_loading_needs_no_fastai_and_onnx_no_torch(model):
    code = (
        "import sys; from imgclf.shipping import inference; assert 'torch' not in sys.modules;"
        "inference.load(sys.argv[1]); assert 'torch' in sys.modules; assert 'fastai' not in sys.modules"
    )
    root = Path(inference.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, model], check=True, cwd=root)


def test_images_under(photos, tmp_path):
    for name in ("b/Z.JPG", "b/a.png", "a/x.webp", "a/notes.txt", ".hidden/x.jpg", "a/.DS_Store", "a/.x.jpg", "odd"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = images_under([tmp_path / "odd", tmp_path, str(photos[0]), tmp_path / ".hidden"])
    names = [p.relative_to(tmp_path).as_posix() for p in found if p.is_relative_to(tmp_path)]
    assert names == ["odd", "a/x.webp", "b/Z.JPG", "b/a.png", ".hidden/x.jpg"]
    assert found[4] == photos[0]
    with pytest.raises(DataError, match="nowhere"):
        images_under([tmp_path / "nowhere"])


def test_onnx_files_of_others_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("image", "probs")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["probs"])], "g", values[:1], values[1:])
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="not exported by imgclf"):
        inference.load(tmp_path / "other.onnx")
    facts = {"classes": '["a"]', "preprocess": json.dumps(Preprocess(size=4).to_dict())}
    helper.set_model_props(other, facts)
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="maps"):
        inference.load(tmp_path / "other.onnx")
