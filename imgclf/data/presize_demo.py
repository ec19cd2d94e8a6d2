"""Presizing beside the naive order, on the same images with the same random draws (book, chapter 5, figure 5-2).

The naive order makes the image small first and then augments it in one interpolation after another: the details that
the first ones lose cannot come back, and what the crop cut away is missing at the edges, where reflections fill in.
"""

import random
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from fastai.vision.all import TensorImage, rotate_mat, zoom_mat
from fastai.vision.augment import _WarpCoord
from PIL import Image

from imgclf.data.images import resize

CROP = 0.6  # share of the presized image's area: the naive order crops this before it augments


@dataclass(frozen=True)
class Draws:
    """What was drawn for one image; strong, so that the difference can be seen."""

    degrees: float
    zoom: float
    warp: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.degrees:+.0f}°, zoom {self.zoom:.2f}, warp {self.warp[0]:+.2f} {self.warp[1]:+.2f}"


def draw(rng: random.Random) -> Draws:
    """A rotation by 15 to 30 degrees, a zoom of 1 to 1.2, and a change of perspective, either way."""
    return Draws(
        rng.choice((-1, 1)) * rng.uniform(15, 30), rng.uniform(1, 1.2),
        (rng.choice((-1, 1)) * rng.uniform(0.1, 0.2), rng.choice((-1, 1)) * rng.uniform(0.1, 0.2)),
    )  # fmt: skip


def both(image: Image.Image, presize: int, size: int, drawn: Draws) -> tuple[np.ndarray, np.ndarray]:
    """The image presized, and in the naive order: (size, size, 3) uint8 each."""
    large = _tensor(resize(image, presize, "crop", (0.5, 0.5)))
    return _pixels(_presized(large, size, drawn)), _pixels(_naive(large, size, drawn))


def _presized(large: torch.Tensor, size: int, drawn: Draws) -> torch.Tensor:
    """Crop, rotation, zoom and warp in one interpolation: the map of the naive order, composed."""
    matrix = _centre_crop(large)
    for made in _affine(drawn):
        matrix = matrix @ made(large)
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, large.shape[1], size, size], align_corners=True)
    warp = _warp(drawn)
    warp.before_call(large)
    places = warp(grid).view(1, -1, 2) @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 2]
    shrink = large.shape[-1] * CROP**0.5 / size / 2
    if shrink > 1:  # bilinear sampling looks at four pixels: average first, as in training
        large = F.interpolate(large, scale_factor=1 / shrink, mode="area", recompute_scale_factor=True)
    return F.grid_sample(
        large, places.view(1, size, size, 2), mode="bilinear", padding_mode="reflection", align_corners=True
    )


def _naive(large: torch.Tensor, size: int, drawn: Draws) -> torch.Tensor:
    """Crop to the final size first, then rotation, zoom and warp, each with an interpolation of its own."""
    side = round(large.shape[-1] * CROP**0.5)
    start = (large.shape[-1] - side) // 2
    cut = large[..., start : start + side, start : start + side]
    x = TensorImage(F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True, align_corners=False))
    for matrix in _affine(drawn):
        x = x.affine_coord(mat=matrix(x)[:, :2], mode="bilinear", pad_mode="reflection", align_corners=True)
    warp = _warp(drawn)
    warp.before_call(x)
    return torch.as_tensor(x.affine_coord(coord_tfm=warp, mode="bilinear", pad_mode="reflection", align_corners=True))


def _affine(drawn: Draws) -> list[partial[torch.Tensor]]:
    return [
        partial(rotate_mat, p=1.0, draw=drawn.degrees),
        partial(zoom_mat, p=1.0, draw=drawn.zoom, draw_x=0.5, draw_y=0.5),
    ]


def _warp(drawn: Draws) -> _WarpCoord:
    return _WarpCoord(p=1.0, draw_x=drawn.warp[0], draw_y=drawn.warp[1])


def _centre_crop(x: torch.Tensor) -> torch.Tensor:
    matrix = torch.eye(3, device=x.device).repeat(len(x), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = CROP**0.5
    return matrix


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float() / 255


def _pixels(x: torch.Tensor) -> np.ndarray:
    return np.asarray(x.as_subclass(torch.Tensor)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy())
