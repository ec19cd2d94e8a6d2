"""What moves the pixels of a training image, drawn at random and multiplied into one map of coordinates.

Every map is a homography: a (3, 3) matrix from places in the result to places in the image, both from -1 to 1. fastai
makes the same ones (``flip_mat``, ``dihedral_mat``, ``rotate_mat``, ``zoom_mat``, ``_WarpCoord``) for a batch of
tensors; here they are for one image and made of plain numbers, which costs a fiftieth.
"""

import math
import random
from dataclasses import dataclass

import numpy as np

CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
SAME = np.eye(3)
# The eight ways of laying a square on itself.
EIGHT_WAYS: list[np.ndarray] = [np.array([[a, b, 0], [c, d, 0], [0, 0, 1.0]]) for a, b, c, d in (
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0),
    (0, -1, -1, 0),
)]  # fmt: skip


@dataclass(frozen=True)
class Geometry:
    """How far a training image may be moved; the parameters of fastai's ``aug_transforms`` by their own names."""

    min_scale: float = 1.0
    do_flip: bool = False
    flip_vert: bool = False
    max_rotate: float = 0.0
    min_zoom: float = 1.0
    max_zoom: float = 1.0
    max_warp: float = 0.0
    p_affine: float = 0.75
    pad_mode: str = "reflection"

    def draw(self) -> np.ndarray:
        """A random map: of the result's places into the crop, then zoom, rotation, flip and warp, in fastai's order.

        Drawn from Python's ``random``, which the loader seeds for each item.
        """
        matrix = self._flip()
        if self.max_rotate and random.random() < self.p_affine:
            matrix = matrix @ rotation(random.uniform(-self.max_rotate, self.max_rotate))
        if (self.min_zoom < 1 or self.max_zoom > 1) and random.random() < self.p_affine:
            matrix = matrix @ zoom(random.uniform(self.min_zoom, self.max_zoom), random.random(), random.random())
        if self.min_scale < 1:
            side = math.sqrt(random.uniform(self.min_scale, 1))
            matrix = matrix @ crop(side, random.random(), random.random())
        found: np.ndarray = self._warp() @ matrix
        return found

    def _flip(self) -> np.ndarray:
        if not self.do_flip or random.random() >= 0.5:
            return SAME
        return EIGHT_WAYS[random.randrange(8) if self.flip_vert else 1]

    def _warp(self) -> np.ndarray:
        if not self.max_warp:
            return SAME
        x, y = (random.uniform(-self.max_warp, self.max_warp) * (random.random() < self.p_affine) for _ in "xy")
        return warp(x, y) if x or y else SAME


def rotation(degrees: float) -> np.ndarray:
    """About the centre; positive angles turn the picture anticlockwise."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def zoom(factor: float, x: float, y: float) -> np.ndarray:
    """By ``factor``, about a point from (0, 0) top left to (1, 1) bottom right."""
    return crop(1 / factor, x, y)


def crop(side: float, x: float, y: float) -> np.ndarray:
    """A square of ``side`` (1: all of the image) at a place from (0, 0) top left to (1, 1) bottom right."""
    return np.array([[side, 0, (1 - side) * (2 * x - 1)], [0, side, (1 - side) * (2 * y - 1)], [0, 0, 1]])


def warp(x: float, y: float) -> np.ndarray:
    """A change of perspective: what would be seen from further to one side (``y``) or from above or below (``x``)."""
    targets: tuple[tuple[float, float], ...] = ((-1 - y, -1 - x), (-1 + y, 1 + x), (1 + y, -1 + x), (1 - y, 1 - x))
    rows, values = [], []
    for (px, py), (qx, qy) in zip(CORNERS, targets, strict=True):
        rows += [[qx, qy, 1, 0, 0, 0, -px * qx, -px * qy], [0, 0, 0, qx, qy, 1, -py * qx, -py * qy]]
        values += [px, py]
    found: np.ndarray = np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)
    return found


def scale(matrix: np.ndarray) -> float:
    """How much larger the part of the image that is seen is than the result, both of side 1: below 1 enlarges."""
    linear = matrix[:2, :2] / matrix[2, 2]
    return math.sqrt(abs(float(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])))


@dataclass(frozen=True)
class Lighting:
    """fastai's ``Brightness`` and ``Contrast``: how far, and how often each."""

    most: float
    p: float

    def draw(self) -> np.ndarray | None:
        """What becomes of each of the 256 values of a channel, uint8; None: nothing changes."""
        brightness, contrast = 0.5, 1.0
        if random.random() < self.p:
            brightness = random.uniform(0.5 * (1 - self.most), 0.5 * (1 + self.most))
        if random.random() < self.p:
            contrast = math.exp(random.uniform(math.log(1 - self.most), -math.log(1 - self.most)))
        return table(brightness, contrast) if (brightness, contrast) != (0.5, 1.0) else None


def table(brightness: float, contrast: float) -> np.ndarray:
    """(256,) uint8: values moved and stretched on the scale of their logits; 0.5 and 1 change nothing."""
    x = np.clip(np.arange(256) / 255, 1e-7, 1 - 1e-7)
    logits = (np.log(x / (1 - x)) + math.log(brightness / (1 - brightness))) * contrast
    return np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8)
