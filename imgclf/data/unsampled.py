"""Training images that are decoded, and that the device is to look up: one row of bytes for each.

Where a GPU computes, the processes that read images have less to do than it: decode, reduce, and draw at random. The
crop, the augmentation and the lighting of a whole batch are then looked up there, at once, as ``sampling.sample`` does
it for one image, in the same place and by the same formulas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fastai.vision.all import TensorBase, TensorImage, Transform
from torch import Tensor

SIDES, MAP, TABLE = 2 * 4, 9 * 4, 256  # bytes: int32 height and width, float32 (3, 3), uint8 (256,)
HEAD = SIDES + MAP + TABLE
AT_ONCE = 2**23  # numbers of the result, a batch of 55 at 224 pixels: temporaries of half a gigabyte at most


class Unsampled(TensorBase):
    """uint8, (L,) an image or (B, L) a batch: sides, map, table and, channels last, the pixels; the rest is nothing."""


def pack(pixels: np.ndarray, matrix: np.ndarray, table: np.ndarray | None) -> Unsampled:
    """A row for the pixels (H, W) or (H, W, C), a (3, 3) map of coordinates and a table of the 256 values.

    Args:
        table: None: every value stays.
    """
    values = np.arange(256, dtype=np.uint8) if table is None else table
    parts = (np.array(pixels.shape[:2], np.int32), matrix.astype(np.float32), values, pixels)
    return Unsampled(torch.from_numpy(np.concatenate([np.ascontiguousarray(p).view(np.uint8).ravel() for p in parts])))


def same_length(items: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Items of which the first part may be a row: rows filled up to the longest, so that they make a batch."""
    if not isinstance(items[0], tuple) or not isinstance(items[0][0], Unsampled):
        return items
    longest = max(len(item[0]) for item in items)
    longest += -longest % 4  # so that every row begins where numbers of four bytes may
    return [(F.pad(item[0], (0, longest - len(item[0]))), *item[1:]) for item in items]


class LookUp(Transform):
    """The step of a batch that makes images (B, C, size, size), uint8, of its rows."""

    order = 0  # before everything that takes images

    def __init__(self, size: int, channels: int, pad_mode: str) -> None:
        super().__init__()
        self.size, self.channels, self.pad_mode = size, channels, pad_mode

    def resize(self, size: int) -> None:
        """From now on bring training images to ``size`` pixels."""
        self.size = size

    def encodes(self, x: Unsampled) -> TensorImage:
        rows = x.as_subclass(Tensor)
        some = max(1, AT_ONCE // (self.size**2 * self.channels))
        parts = [look_up(part, self.size, self.channels, self.pad_mode) for part in rows.split(some)]
        return TensorImage(torch.cat(parts))


def look_up(rows: Tensor, size: int, channels: int, pad_mode: str) -> Tensor:
    """(B, C, size, size) uint8, channels last in memory, of rows (B, L)."""
    heights_widths, matrix, table, pixels = _read(rows)
    sides = heights_widths.float().flip(1)[..., None]  # (B, 2, 1): what belongs to x comes first
    at = _inside(_coordinates(matrix, size) * (sides / 2) + (sides - 1) / 2, sides, pad_mode)
    low = at.floor()
    corners = torch.stack([low, low + 1], 2)  # (B, 2, 2, N): of x and y, the pixels before and after
    shares = 1 - (corners - at[:, :, None]).abs()
    last = sides[:, :, None] - 1
    if pad_mode == "zeros":
        shares = shares * ((corners >= 0) & (corners <= last))
    corners = corners.clamp(0).minimum(last)  # outside only where nothing counts; there, whatever is inside
    (x, y), (share_x, share_y) = corners.unbind(1), shares.unbind(1)
    place = (y[:, :, None] * sides[:, :1, None] + x[:, None]) * channels  # (B, 2, 2, N), whole numbers below 2**24
    all_channels = place.long()[..., None] + torch.arange(channels, device=rows.device)
    values = pixels.gather(1, all_channels.flatten(1)).view(all_channels.shape)
    found = (values * (share_y[:, :, None] * share_x[:, None])[..., None]).sum((1, 2))
    looked_up = table.gather(1, found.add_(0.5).long().flatten(1))
    return looked_up.view(len(rows), size, size, channels).permute(0, 3, 1, 2)


def _read(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heights and widths (B, 2), maps (B, 3, 3), tables (B, 256) and pixels (B, L - HEAD)."""
    sides, matrix, table, pixels = rows.split((SIDES, MAP, TABLE, rows.shape[1] - HEAD), 1)
    numbers = matrix.contiguous().view(torch.float32)
    return sides.contiguous().view(torch.int32), numbers.view(-1, 3, 3), table, pixels


def _coordinates(matrix: Tensor, size: int) -> Tensor:
    """(B, 2, N) of x and y for N = size * size pixels, row by row: ``sampling.coordinates`` for a batch."""
    u = (2 * torch.arange(size, device=matrix.device, dtype=torch.float32) + 1) / size - 1
    across, down = u.repeat(size), u.repeat_interleave(size)
    found = matrix[:, :, :1] * across + (matrix[:, :, 1:2] * down + matrix[:, :, 2:])
    return found[:, :2] / found[:, 2:]


def _inside(at: Tensor, side: Tensor, pad_mode: str) -> Tensor:
    """Pixels from the first one's centre; what lies outside, where torch's ``grid_sample`` has it with that padding."""
    if pad_mode == "zeros":
        return at
    if pad_mode == "reflection":
        away = (at + 0.5).abs() % (2 * side)
        at = away.minimum(2 * side - away) - 0.5
    return at.clamp(0).minimum(side - 1)
