"""A model with one channel: the same answers from the same RGB pixels in every format."""

import json

import numpy as np
import pytest
import torch
from support import need_openvino, short_body
from torch import nn

from imgclf.data.images import Preprocess
from imgclf.errors import ModelError
from imgclf.shipping import bundle, exporters, inference, layers, verify
from imgclf.shipping.record import Record
from imgclf.workflow.export import SUFFIXES

SIZE = 64
GREY = Preprocess(SIZE, mean=(0.449,), std=(0.226,), channels=1)


@pytest.fixture(scope="module")
def grey_net(request) -> nn.Sequential:
    """The network of the other tests with a stem for one channel."""
    from fastai.vision.learner import create_head

    torch.manual_seed(1)
    body = short_body()
    body[0] = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    net = nn.Sequential(body, create_head(128, 3))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 1, SIZE, SIZE) + torch.randn(4, 1, 1, 1))
    return net.eval()


@pytest.fixture(scope="module")
def grey_model(grey_net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grey")
    head = layers.describe(grey_net[1])
    bundle.save(folder, grey_net.state_dict(), Record(("a", "b", "c"), GREY, "resnet18", head, temperature=0.5, cut=-4))
    return folder


def test_the_predictor_takes_rgb_and_greys_it_as_pillow_does(grey_net, grey_model, photos):
    from PIL import Image

    predictor = inference.load(grey_model)
    images = np.stack([predictor.preprocess.load(p) for p in photos])
    grey = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images])
    x = (torch.tensor(grey)[:, None].float() / 255 - 0.449) / 0.226
    with torch.no_grad():
        np.testing.assert_allclose(predictor.logits(images), grey_net(x).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fmt", exporters.FORMATS)
def test_every_export_of_a_grey_model_gives_its_answers(grey_model, photos, tmp_path, fmt):
    if fmt == "openvino":
        need_openvino()
    if fmt == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    file = exporters.export(grey_model, fmt, tmp_path / f"model{SUFFIXES[fmt]}")
    parity = verify.check(file, fmt, grey_model, photos)
    assert parity.passed, parity


def test_a_grey_onnx_file_still_takes_rgb(grey_model, photos, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = exporters.export(grey_model, "onnx", tmp_path / "model.onnx")
    predictor = inference.load(file)
    assert predictor.preprocess == GREY
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(predictor.probs(images), inference.load(grey_model).probs(images), atol=1e-5)


@pytest.mark.parametrize("change", [{"channels": 2}, {"channels": True}, {"channels": 3}, {"mean": [0.1, 0.1, 0.1]}])
def test_a_record_whose_channels_cannot_be_right_is_refused(grey_model, change):
    data = json.loads((grey_model / "model.json").read_text())
    del data["weights"]
    data["preprocess"].update(change)
    with pytest.raises(ModelError):
        Record.from_dict(data)


def test_a_record_without_the_key_is_rgb(make_record):
    data = make_record().to_dict()
    del data["preprocess"]["channels"]
    assert Record.from_dict(json.loads(json.dumps(data))).preprocess.channels == 3


def test_rgb_weights_do_not_load_into_a_grey_network(grey_net, make_network):
    head = layers.describe(grey_net[1])
    record = Record(("a", "b", "c"), GREY, "resnet18", head, cut=-4)
    with pytest.raises(ModelError, match=r"body|0\.0\.weight"):
        bundle._network(dict(make_network().state_dict()), record)
