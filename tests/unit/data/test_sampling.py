"""What a map looks at of an image is cut out before anything else is done to it."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgclf.data.geometry import Geometry, crop, scale, warp
from imgclf.data.sampling import Part, looked_at, part_of, sample

FAR = Geometry(0.2, True, True, 180.0, 0.4, 2.0, 0.4)
SQUARE = (7, 3, 67, 63)


def coloured(width, height, seed=0):
    """Every pixel another, but neighbours alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@given(seed=st.integers(0, 10**6), pad_mode=st.sampled_from(["reflection", "border", "zeros"]))
def test_the_part_gives_what_the_whole_square_gives(seed, pad_mode):
    random.seed(seed)
    image, matrix = coloured(80, 66), FAR.draw()
    size = 96  # of sixty pixels: nothing is averaged
    whole = sample(Part(np.array(image.crop(SQUARE)), matrix), size, pad_mode).int()
    part = part_of(image, SQUARE, matrix, size)
    if scale(matrix) < 1.2:
        assert (sample(part, size, pad_mode).int() - whole).abs().max() <= 1


@given(seed=st.integers(0, 10**6))
def test_averaged_parts_lie_where_the_whole_lies(seed):
    random.seed(seed)
    image, matrix, size = coloured(400, 330), FAR.draw(), 96
    square = (35, 15, 335, 315)
    averaged = image.crop(square).resize((300, 300), Image.Resampling.BOX)
    blurred = averaged.resize((math.ceil(size / scale(matrix)),) * 2, Image.Resampling.BOX)
    whole = sample(Part(np.array(blurred), matrix), size, "reflection").float()
    assert (sample(part_of(image, square, matrix, size), size, "reflection").float() - whole).abs().mean() < 3


def test_a_small_crop_is_a_small_part():
    box = looked_at((0, 0, 400, 400), crop(0.25, 0.5, 0.5), 100)
    assert box == (147, 147, 253, 253)  # 150 to 250, two neighbours and a pixel of the result
    assert looked_at((0, 0, 400, 400), np.eye(3), 100) == (0, 0, 400, 400)


def test_what_is_mirrored_at_an_edge_is_there():
    """A crop that ends a fifth beyond the left edge sees as much inside of it; not more of the right."""
    matrix = np.array([[0.2, 0, -1.0], [0, 0.2, 0], [0, 0, 1]])
    left, _, right, _ = looked_at((0, 0, 400, 400), matrix, 100)
    assert (left, right) == (0, 243 - 200)


def test_a_view_from_behind_is_no_part():
    matrix = warp(0.9, 0.9)
    matrix[2] *= 9
    matrix[2, 2] = 0.5
    assert looked_at(SQUARE, matrix, 10) == SQUARE


def test_grey_parts_have_no_channels():
    part = part_of(coloured(80, 66), SQUARE, np.eye(3), 30, channels=1)
    assert part.pixels.shape == (30, 30)
    assert sample(part, 30, "reflection").shape == (1, 30, 30)


@pytest.mark.parametrize("size", [30, 96])
def test_a_table_changes_every_value(size):
    part, table = part_of(coloured(80, 66), SQUARE, crop(0.8, 0, 1), size), np.arange(256, dtype=np.uint8)[::-1].copy()
    plain = sample(part, size, "border")
    assert (sample(part, size, "border", table) == 255 - plain).all()
