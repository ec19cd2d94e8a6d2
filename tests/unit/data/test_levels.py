"""Grey of more than 8 bits: the range that is used, and what is said where it is not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imgclf.data import levels, loaders
from imgclf.data.forms import Detail, Fitted
from imgclf.data.images import Preprocess, decode
from imgclf.errors import ConfigError, ModelError
from imgclf.shipping.record import _check_preprocess


@pytest.fixture
def scan(tmp_path):
    """A 12-bit ramp from 600 to 1,600 in a 16-bit TIFF."""
    path = tmp_path / "scan.tif"
    Image.fromarray(np.tile(np.linspace(600, 1600, 64).astype("<u2"), (64, 1))).save(path)
    return path


def shades(image) -> int:
    return len(np.unique(np.asarray(image)))


def test_the_range_asked_for_becomes_black_to_white_in_every_way_of_reading(scan):
    record = Preprocess(64, grey_range=(600, 1600))
    assert shades(decode(scan)) == 5
    opened = np.asarray(record.open(scan))
    assert (opened.min(), opened.max(), shades(opened)) == (0, 255, 64)
    for pixels in (
        record.load(scan),
        record.load_stranger(scan.read_bytes(), 10_000),
        Fitted.of(record).make(scan),
        Detail(64, average=False, grey_range=record.grey_range).make(scan),
    ):
        assert np.array_equal(pixels, opened)


def test_values_outside_are_cut_and_images_of_8_bits_stay(scan, pictures, tmp_path):
    narrow = np.asarray(decode(scan, grey_range=(1000, 1200)))
    assert (narrow[0, 0].tolist(), narrow[0, -1].tolist()) == ([0] * 3, [255] * 3)
    picture = pictures.picture()
    picture.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png", grey_range=(1000, 1200))), np.asarray(picture))


def test_the_record_keeps_the_range_and_does_without_it_where_there_is_none():
    record = Preprocess(64, grey_range=(0.5, 4095.0))
    assert Preprocess.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert "grey_range" not in Preprocess(64).to_dict()


@pytest.mark.parametrize("span", [(1, 1), (5,), ("a", "b"), (0, float("nan"))])
def test_a_range_that_cannot_be_right_is_refused_in_a_model_file(span):
    with pytest.raises(ModelError, match="range of grey"):
        _check_preprocess(replace(Preprocess(64), grey_range=span))


def test_the_configured_range_and_normalisation_reach_the_record(make_config):
    settings = {"data.grey_range": [0.0, 4095.0], "model.mean": [0.2], "model.std": [0.1, 0.1, 0.3]}
    record = loaders.preprocess_record(make_config(**settings))
    assert (record.grey_range, record.mean, record.std) == ((0, 4095), (0.2,) * 3, (0.1, 0.1, 0.3))
    with pytest.raises(ConfigError, match=r"data\.channels makes it 1"):
        loaders.preprocess_record(make_config(**settings), channels=1)


@pytest.mark.parametrize(
    "settings", [{"data.grey_range": [9.0, 9.0]}, {"model.mean": [0.5]}, {"model.std": [0.0], "model.mean": [0.5]}]
)
def test_what_cannot_be_meant_is_refused(make_config, settings):
    with pytest.raises(ConfigError, match=r"grey_range|model\.(mean|std)"):
        make_config(**settings)


def test_a_narrow_range_is_told_with_the_setting_that_mends_it(make_config, scan, tmp_path):
    said = levels.advice(make_config(), [scan] * 3)
    assert "leaves 5 of 256 shades: --set 'data.grey_range=[600, 1600]'" in said
    assert levels.advice(make_config(**{"data.grey_range": [600.0, 1600.0]}), [scan]) == ""
    assert levels.advice(make_config(), []) == ""
    wide = tmp_path / "wide.tif"
    Image.fromarray(np.linspace(0, 65535, 4096).astype("<u2").reshape(64, 64)).save(wide)
    assert levels.advice(make_config(), [scan, wide]) == ""
