"""Looking the pixels of a training image up: all that was drawn for it, in one interpolation."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from imgclf.data.geometry import CORNERS, scale
from imgclf.data.images import Box

PIXELS_IN_ONE = 1.25  # of the image, along each side of a pixel of the result: less would blur
NEIGHBOURS = 2  # pixels: those that are looked at beside the outermost


class Part(NamedTuple):
    """What a map looks at of an image: pixels, (H, W) or (H, W, C), and the map into them, (3, 3)."""

    pixels: np.ndarray
    matrix: np.ndarray


def part_of(image: Image.Image, square: Box, matrix: np.ndarray, size: int, channels: int = 3) -> Part:
    """The part of an image that is looked at, for ``size`` pixels, by a map into a ``square`` of it.

    Bilinear sampling looks at four pixels, wherever their neighbours are. Where clearly more than one would fall into
    one of the result, the image is averaged down to that first: else it skips pixels, and training images would be
    sharper than those the model is judged on, and uses later (docs/benchmarks.md).
    """
    box = looked_at(square, matrix, size)
    whole = size / scale(matrix)  # pixels a side of the square of which each is seen in one of the result
    there = (box[2] - box[0], box[3] - box[1])
    sides = list(there)
    for axis in (0, 1):
        of_square = square[axis + 2] - square[axis]
        if of_square > PIXELS_IN_ONE * whole:
            sides[axis] = math.ceil(whole * there[axis] / of_square)
    if (wanted := (sides[0], sides[1])) == there:
        part = image.crop(box)
    else:  # averaged, a pixel takes nothing of what is outside the box, whose edges are those of pixels
        part = image.resize(wanted, Image.Resampling.BOX, box)
    pixels = np.array(part.convert("L") if channels == 1 else part)
    return Part(pixels, _moved(square, box) @ matrix)


def looked_at(square: Box, matrix: np.ndarray, size: int) -> Box:
    """The pixels of a square that a map looks at, and a few more; a map of a small crop leaves most out."""
    x, y, away = matrix @ _CORNERS
    if away.min() <= 0:  # a corner of the result lies behind the eye
        return square
    found = [0, 0, 0, 0]
    for axis, places in enumerate((x / away, y / away)):
        start, end = square[axis], square[axis + 2]
        low, high = places.min(), places.max()
        # What lies beyond an edge may be mirrored there: as far inside.
        low, high = min(low, 2 - high), max(high, -2 - low)
        margin = NEIGHBOURS + (end - start) * scale(matrix) / size
        middle, half = (start + end) / 2, (end - start) / 2
        found[axis] = max(start, math.floor(middle + half * low - margin))
        found[axis + 2] = min(end, math.ceil(middle + half * high + margin))
    return found[0], found[1], found[2], found[3]


_CORNERS = np.array([[x, y, 1.0] for x, y in CORNERS]).T


def _moved(square: Box, box: Box) -> np.ndarray:
    """The map from places in a square to places in a box inside it."""
    found = np.eye(3)
    for axis in (0, 1):
        start, end = square[axis], square[axis + 2]
        side = box[axis + 2] - box[axis]
        found[axis, axis] = (end - start) / side
        found[axis, 2] = (start + end - 2 * box[axis]) / side - 1
    return found


def sample(part: Part, size: int, pad_mode: str, table: np.ndarray | None = None) -> torch.Tensor:
    """Look up (C, size, size) pixels, uint8, in an image through a map of coordinates.

    Args:
        table: What becomes of each of the 256 values, uint8; None: nothing changes.
    """
    pixels = torch.from_numpy(part.pixels)
    image = pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1)[None].float()  # channels last in memory: faster
    grid = coordinates(part.matrix, size)[None]
    found = F.grid_sample(image, grid, mode="bilinear", padding_mode=pad_mode, align_corners=False)[0].numpy()
    found += 0.5  # rounded; between 0 and 255 as the pixels it was mixed from
    values = np.ascontiguousarray(found.astype(np.uint8))  # quicker than by torch
    if table is None:
        return torch.from_numpy(values)
    looked_up = bytearray(values).translate(table.tobytes())  # quicker than by NumPy
    return torch.frombuffer(looked_up, dtype=torch.uint8).view(values.shape)


def coordinates(matrix: np.ndarray, size: int) -> torch.Tensor:
    """(size, size, 2) float32: where each pixel's centre lies in the image, -1 to 1 from edge to edge.

    fastai's -1 and 1 are the centres of the outermost pixels instead: an image much smaller than the result would then
    be cut at its edges.
    """
    found = torch.from_numpy(matrix.astype(np.float32)) @ _centres(size)
    found[:2] /= found[2]
    return found[:2].view(2, size, size).permute(1, 2, 0)  # all x, then all y in memory: as it is read fastest


@lru_cache(maxsize=4)
def _centres(size: int) -> torch.Tensor:
    """(3, size * size): x and y of the centre of each pixel of the result, row by row, and 1."""
    u = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1
    return torch.stack([u.repeat(size), u.repeat_interleave(size), torch.ones(size * size)])
