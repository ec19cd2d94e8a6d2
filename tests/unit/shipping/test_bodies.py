"""Models other than the usual ResNet with the usual head: bundled, loaded and exported, they give the same answers."""

import json

import numpy as np
import pytest
import torch
from support import short_body
from torch import nn

from imgclf.data.images import Preprocess
from imgclf.errors import ModelError
from imgclf.shipping import bundle, exporters, inference, layers, verify
from imgclf.shipping.record import Record

SIZE = 64


def warmed(net: nn.Module) -> nn.Module:
    """In evaluation mode, with BatchNorm that has seen images, so that answers differ from photo to photo."""
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, SIZE, SIZE) + torch.randn(4, 3, 1, 1))
    return net.eval()


@pytest.fixture(scope="module")
def cut_net() -> nn.Module:
    from fastai.vision.learner import create_head

    torch.manual_seed(1)
    return warmed(nn.Sequential(short_body(), create_head(128, 3, y_range=(-3, 4))))


@pytest.fixture(scope="module")
def cut_model(cut_net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    head = layers.describe(cut_net[1])
    record = Record(("a", "b", "c"), Preprocess(SIZE), "resnet18", head, temperature=0.2, cut=-4)
    bundle.save(folder, cut_net.state_dict(), record)
    return folder


def answers_as(predictor, net, photos) -> None:
    """Assert that a predictor gives the logits of the network it was made of."""
    images = np.stack([predictor.preprocess.load(p) for p in photos])
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (predictor.preprocess.mean, predictor.preprocess.std))
    with torch.no_grad():
        expected = net(layers.model_input(torch.tensor(images), mean, std)).numpy()
    np.testing.assert_allclose(predictor.logits(images), expected, rtol=1e-4, atol=1e-6)
    assert expected.std(0).max() > 1e-3


def test_a_body_cut_early_with_bounded_logits_is_bundled(cut_model, cut_net, photos):
    answers_as(inference.load(cut_model), cut_net, photos)


@pytest.mark.parametrize("fmt", ["safetensors", "onnx", "pkl"])
def test_every_export_of_it_gives_its_answers(cut_model, photos, tmp_path, fmt):
    if fmt == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    parity = verify.check(exporters.export(cut_model, fmt, tmp_path / f"m.{fmt}"), fmt, cut_model, photos)
    assert parity.passed, parity


@pytest.mark.parametrize("cut", [0, 10, -10, True, "-2", 1.0])
def test_a_cut_that_cannot_be_right_is_refused(cut_model, cut):
    data = json.loads((cut_model / "model.json").read_text())
    del data["weights"]
    with pytest.raises(ModelError, match="cut"):
        Record.from_dict({**data, "cut": cut})


def test_a_record_without_a_word_on_the_cut_has_the_usual_body(make_record):
    data = make_record().to_dict()
    del data["cut"]
    assert Record.from_dict(json.loads(json.dumps(data))).cut is None
