"""The maps of coordinates are fastai's, for any draw; what is drawn is distributed as in fastai."""

import random

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    Brightness,
    Contrast,
    Dihedral,
    Flip,
    Rotate,
    TensorImage,
    Warp,
    Zoom,
    dihedral_mat,
    flip_mat,
    rotate_mat,
    set_seed,
    setup_aug_tfms,
    zoom_mat,
)
from fastai.vision.augment import _WarpCoord
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ks_2samp

from imgclf.data import geometry
from imgclf.data.geometry import EIGHT_WAYS, Geometry, Lighting
from imgclf.data.sampling import part_of, sample

SIZE, N = 32, 4000


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def theirs(image, tfms) -> np.ndarray:
    """fastai's composition of transforms on one image, 0 to 255."""
    x = TensorImage(torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float() / 255)
    for tfm in setup_aug_tfms(tfms):
        x = tfm(x, split_idx=0)
    return x[0].numpy() * 255


# In fastai -1 and 1 are the centres of the outermost pixels; here they are the edges of the image.
EDGES = np.diag([1 - 1 / SIZE, 1 - 1 / SIZE, 1.0])


def ours(image, matrix, pad_mode="border") -> np.ndarray:
    part = part_of(image, (0, 0, *image.size), EDGES @ matrix @ np.linalg.inv(EDGES), SIZE)
    return sample(part, SIZE, pad_mode).numpy().astype(float)


def inside(matrix) -> np.ndarray:
    """(SIZE, SIZE): whether fastai looks a pixel up in the image, and not beyond it."""
    u = np.linspace(-1, 1, SIZE)
    places = np.stack([*np.meshgrid(u, u), np.ones((SIZE, SIZE))], -1) @ matrix.T
    return (np.abs(places[..., :2] / places[..., 2:]) <= 1).all(-1)


@pytest.mark.parametrize("pad_mode", ["reflection", "border", "zeros"])
@pytest.mark.parametrize(
    ("matrix", "tfms"),
    [
        (EIGHT_WAYS[1], lambda pad: [Flip(p=1.0, draw=1, pad_mode=pad)]),
        (geometry.rotation(25), lambda pad: [Rotate(p=1.0, draw=25.0, pad_mode=pad)]),
        (geometry.rotation(-7), lambda pad: [Rotate(p=1.0, draw=-7.0, pad_mode=pad)]),
        (geometry.zoom(1.4, 0.2, 0.9), lambda pad: [Zoom(p=1.0, draw=1.4, draw_x=0.2, draw_y=0.9, pad_mode=pad)]),
        (geometry.zoom(0.82, 0.2, 0.9), lambda pad: [Zoom(p=1.0, draw=0.82, draw_x=0.2, draw_y=0.9, pad_mode=pad)]),
        (geometry.warp(0.2, 0), lambda pad: [Warp(p=1.0, draw_x=0.2, draw_y=0.0, pad_mode=pad)]),
        (geometry.warp(-0.15, 0.3), lambda pad: [Warp(p=1.0, draw_x=-0.15, draw_y=0.3, pad_mode=pad)]),
        (
            geometry.warp(0.1, 0.2) @ EIGHT_WAYS[1] @ geometry.rotation(9) @ geometry.zoom(1.1, 0.4, 0.7),
            lambda pad: [
                Flip(p=1.0, draw=1, pad_mode=pad),
                Warp(p=1.0, draw_x=0.1, draw_y=0.2, pad_mode=pad),
                Rotate(p=1.0, draw=9.0, pad_mode=pad),
                Zoom(p=1.0, draw=1.1, draw_x=0.4, draw_y=0.7, pad_mode=pad),
            ],
        ),
    ],
    ids=["flip", "rotate", "rotate back", "zoom in", "zoom out", "warp x", "warp", "all"],
)
def test_the_same_draw_gives_fastais_pixels(photo, matrix, tfms, pad_mode):
    mine, reference = ours(photo, matrix, pad_mode), theirs(photo, tfms(pad_mode))
    difference = np.abs(mine - reference)
    assert difference[:, inside(matrix)].max() <= 1  # rounded to whole numbers
    if pad_mode == "border":
        assert difference.max() <= 1
    # Reflections begin half a pixel further out, and zeros fade over one pixel.
    assert difference.mean() < 10
    assert np.abs(ours(photo, matrix) - np.asarray(photo).transpose(2, 0, 1)).max() > 20


def test_the_eight_ways_are_fastais(photo):
    known = [theirs(photo, [Dihedral(p=1.0, draw=k)]) for k in range(8)]
    found = [ours(photo, matrix) for matrix in EIGHT_WAYS]
    pairs = {(i, j) for i, a in enumerate(found) for j, b in enumerate(known) if np.abs(a - b).max() <= 1}
    assert sorted(i for i, _ in pairs) == sorted(j for _, j in pairs) == list(range(8))


def alike(a, b) -> None:
    """Two samples of one distribution, as far as a Kolmogorov-Smirnov test can tell."""
    assert ks_2samp(np.asarray(a), np.asarray(b)).pvalue > 1e-3


def drawn(n=N, **settings) -> np.ndarray:
    random.seed(1)
    shape = Geometry(**settings)
    return np.stack([shape.draw() for _ in range(n)])


def of_fastai(make, **settings) -> np.ndarray:
    set_seed(2)
    return make(torch.zeros(N, 3, 1, 1), **settings).numpy()


@pytest.mark.parametrize("p", [0.75, 0.3])
def test_rotations_are_distributed_as_fastais(p):
    a, b = drawn(max_rotate=20.0, p_affine=p), of_fastai(rotate_mat, max_deg=20.0, p=p)
    alike(a[:, 0, 1], b[:, 0, 1])
    assert (a[:, 0, 1] == 0).mean() == pytest.approx(1 - p, abs=0.03)


@pytest.mark.parametrize("bounds", [(1.0, 1.3), (0.6, 1.2)])
def test_zooms_are_distributed_as_fastais(bounds):
    a = drawn(min_zoom=bounds[0], max_zoom=bounds[1])
    b = of_fastai(zoom_mat, min_zoom=bounds[0], max_zoom=bounds[1], p=0.75)
    for row, column in ((0, 0), (0, 2), (1, 2)):
        alike(a[:, row, column], b[:, row, column])
    assert np.array_equal(a[:, 0, 0], a[:, 1, 1])


def test_warps_are_distributed_as_fastais():
    a, coord = drawn(max_warp=0.3, p_affine=0.75), _WarpCoord(magnitude=0.3, p=0.75)
    set_seed(2)
    coord.before_call(torch.zeros(N, 3, 1, 1))
    grid = coord(torch.tensor([[0.5, -0.25]]).expand(N, 1, 2)).numpy()[:, 0]
    places = a @ np.array([0.5, -0.25, 1.0])
    for axis in (0, 1):
        alike(places[:, axis] / places[:, 2], grid[:, axis])


def test_flips_are_distributed_as_fastais():
    a, b = drawn(do_flip=True), of_fastai(flip_mat, p=0.5)
    assert (a[:, 0, 0] < 0).mean() == pytest.approx((b[:, 0, 0] < 0).mean(), abs=0.03)
    a, b = drawn(do_flip=True, flip_vert=True), of_fastai(dihedral_mat, p=0.5)

    def shares(matrices):
        return [(np.abs(matrices - way).max((1, 2)) < 1e-6).mean() for way in EIGHT_WAYS]

    assert shares(a) == pytest.approx(shares(b), abs=0.03)
    assert sum(shares(a)) == pytest.approx(1)


@pytest.mark.parametrize("min_scale", [0.1, 0.35, 0.75])
def test_crops_stay_inside_the_image_and_cover_the_areas_asked_for(min_scale):
    matrices = drawn(min_scale=min_scale)
    side = matrices[:, 0, 0]
    assert np.array_equal(side, matrices[:, 1, 1])
    assert (np.abs(matrices[:, :2, 2]) + side[:, None] <= 1 + 1e-9).all()
    alike(side**2, np.random.default_rng(3).uniform(min_scale, 1, N))
    at = matrices[:, :2, 2] / (1 - side[:, None])
    for axis in (0, 1):
        alike(at[:, axis], np.random.default_rng(4).uniform(-1, 1, N))
    assert abs(np.corrcoef(at.T)[0, 1]) < 0.05


def test_all_together_are_distributed_as_fastais():
    settings = {"do_flip": True, "max_rotate": 10.0, "max_zoom": 1.1, "max_warp": 0.2}
    matrices = drawn(**settings)
    set_seed(5)
    x = TensorImage(torch.zeros(N, 3, 2, 2))
    [tfm] = setup_aug_tfms([Flip(), Warp(p=0.75), Rotate(p=0.75), Zoom(p=0.75)])
    tfm.before_call(x, 0)
    for corner in ((-1, -1), (0.5, 1)):
        mapped = matrices @ np.array([*corner, 1.0])
        place = tfm.mat @ torch.tensor([*corner, 1.0])
        [warp] = tfm.coord_fs
        reference = warp(place[:, None]).numpy()[:, 0]
        for axis in (0, 1):
            alike(mapped[:, axis] / mapped[:, 2], reference[:, axis])


def test_nothing_asked_for_is_nothing_done():
    assert np.array_equal(Geometry().draw(), np.eye(3))


@given(st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1), st.floats(-45, 45))
def test_the_scale_is_what_a_crop_leaves(side, x, y, degrees):
    assert geometry.scale(geometry.rotation(degrees) @ geometry.crop(side, x, y)) == pytest.approx(side)


# Lighting


@pytest.mark.parametrize(("brightness", "contrast"), [(0.4, 1.0), (0.6, 1.0), (0.5, 0.8), (0.5, 1.25), (0.57, 1.1)])
def test_lighting_is_fastais_but_for_rounding(photo, brightness, contrast):
    pixels = np.asarray(photo)
    mine = geometry.table(brightness, contrast)[pixels].transpose(2, 0, 1).astype(float)
    reference = theirs(photo, [Brightness(p=1.0, draw=brightness), Contrast(p=1.0, draw=contrast)])
    assert np.abs(mine - reference).max() <= 0.51


def test_lighting_is_drawn_as_fastais():
    random.seed(1)
    light = Lighting(0.4, 0.75)
    tables = [light.draw() for _ in range(N)]
    same = np.arange(256, dtype=np.uint8)
    a = np.stack([same if t is None else t for t in tables])
    set_seed(2)
    x = TensorImage(torch.tensor([64.0, 200.0]).view(1, 1, 1, 2).repeat(N, 3, 1, 1) / 255)
    [tfm] = setup_aug_tfms([Brightness(0.4, p=0.75), Contrast(0.4, p=0.75)])
    b = np.rint(tfm(x, split_idx=0).numpy()[:, 0, 0] * 255)
    alike(a[:, 64], b[:, 0])
    alike(a[:, 200], b[:, 1])
    assert sum(t is None for t in tables) / N == pytest.approx(0.25**2, abs=0.02)
