"""Grey models: who gets one, and one rule that turns RGB grey, wherever it is done."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgclf.data import channels, loaders
from imgclf.data.colours import is_grey, luma
from imgclf.data.images import Preprocess
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

CPU = torch.device("cpu")


def pillow_grey(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=50))
def test_grey_is_pillows_to_the_last_bit_in_numpy_and_torch(colours):
    rgb = np.array([colours], dtype=np.uint8)
    ours = luma(*np.moveaxis(rgb.astype(np.float32), -1, 0))
    np.testing.assert_array_equal(ours, pillow_grey(rgb))
    theirs = luma(*torch.tensor(rgb).float().unbind(-1))
    assert torch.equal(theirs, torch.tensor(ours))


def test_every_grey_keeps_its_value():
    ramp = np.arange(256, dtype=np.float32)
    np.testing.assert_array_equal(luma(ramp, ramp, ramp), ramp)


def test_grey_is_pillows_for_every_step_of_each_colour():
    axis = np.arange(0, 256, 3, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    np.testing.assert_array_equal(luma(*np.moveaxis(rgb.astype(np.float32), -1, 0)), pillow_grey(rgb))


@pytest.mark.parametrize(("colour", "grey"), [((9, 9, 9), True), ((9, 9, 10), False)])
def test_an_image_is_grey_if_no_pixel_has_colour(colour, grey):
    image = Image.new("RGB", (3, 2), (5, 5, 5))
    image.putpixel((2, 1), colour)
    assert is_grey(image) is grey


@pytest.fixture
def dataset(tmp_path, pictures):
    """``dataset("L", "RGB", …)``: training images of these modes; RGB ones have colour, ``grey`` ones do not."""

    def make(*modes: str) -> Dataset:
        train = []
        for i, mode in enumerate(modes):
            image = pictures.picture(20, 14, seed=i)
            image = image.convert("L").convert("RGB") if mode == "grey" else image.convert(mode)
            image.save(tmp_path / f"{i}.png")
            train.append(Sample(f"{i}.png", ("ab"[i % 2],), "train"))
        valid = tuple(Sample(s.path, s.labels, "valid") for s in train[:2])
        return Dataset(tmp_path, ("a", "b"), tuple(train), valid)

    return make


@pytest.mark.parametrize(
    ("asked", "pretrained", "modes", "expected", "reason"),
    [
        ("auto", False, ["L", "1", "LA", "grey"], 1, "no training image has colour"),
        ("auto", False, ["L", "RGB"], 3, "images with colour"),
        ("auto", True, ["L", "L"], 3, "as the pretrained weights are"),
        (1, True, ["RGB", "RGB"], 1, "as asked"),
        (3, False, ["L", "L"], 3, "as asked"),
    ],
)
def test_auto_is_grey_only_without_colour_and_pretraining(
    dataset, make_config, asked, pretrained, modes, expected, reason
):
    data = dataset(*modes)
    found, why = channels.resolve(make_config(data.root, **{"data.channels": asked}), data, pretrained)
    assert found == expected
    assert reason in why


def test_pretrained_weights_are_decided_for_without_reading_a_file(make_config, tmp_path):
    data = Dataset(tmp_path, ("a",), (Sample("missing.png", ("a",), "train"),), ())
    assert channels.resolve(make_config(tmp_path), data, pretrained=True)[0] == 3


@pytest.mark.parametrize("engine", ["fused", "fastai"])
@pytest.mark.parametrize("n", [1, 3])
def test_the_validation_pixels_are_those_of_prediction(dataset, make_config, n, engine):
    data = dataset("RGB", "L", "RGBA", "P")
    small = {"augment.size": 8, "augment.presize": 12, "data.batch_size": 2, "data.workers": 0}
    made = loaders.build(make_config(data.root, **small, **{"data.channels": n, "augment.engine": engine}), data, CPU)
    x = made.dls.train.one_batch()[0]
    assert tuple(x.shape) == (2, n, 8, 8)
    x = next(iter(made.dls.valid))[0].as_subclass(torch.Tensor)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (made.preprocess.mean, made.preprocess.std))
    seen = ((x * std + mean) * 255).numpy()
    rgb = np.stack([made.preprocess.load(data.path(s)) for s in data.valid])
    wanted = rgb.transpose(0, 3, 1, 2) if n == 3 else np.stack([pillow_grey(i) for i in rgb])[:, None]
    np.testing.assert_allclose(seen, wanted, atol=0.01)
    assert made.preprocess.channels == n


def test_a_grey_record_has_one_mean_and_an_old_one_is_rgb(make_config):
    grey = loaders.preprocess_record(make_config(), 1)
    assert (grey.mean, grey.std, grey.channels) == ((0.449,), (0.226,), 1)
    plain = loaders.preprocess_record(make_config(**{"model.normalize": False}), 1)
    assert (plain.mean, plain.std) == ((0.0,), (1.0,))
    old = Preprocess(8).to_dict()
    del old["channels"]
    assert Preprocess.from_dict(old) == Preprocess(8)
