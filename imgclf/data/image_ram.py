"""Decoded images in memory, for one run: one block that all workers share, with a place for each image.

The places follow from what the check found out about the files, so no process has to ask another for one. Two workers
that write one image at the same time write the same bytes.
"""

from collections.abc import Sequence

import numpy as np

from imgclf.data.block import Block
from imgclf.data.forms import Detail, File, Form

MARK = np.dtype(np.int32).itemsize


class Ram:
    """Places of ``sizes`` bytes, numbered as the files are; 0: that image is not kept."""

    def __init__(self, sizes: Sequence[int], shared: bool) -> None:
        self.sizes = np.array(sizes, np.int64)
        self.starts = MARK * len(sizes) + np.concatenate([[0], self.sizes.cumsum()])
        self.block = Block(int(self.starts[-1]), shared)

    def get(self, file: File, form: Form) -> np.ndarray | None:
        """The pixels (H, W, 3), if they are there in that form."""
        if not self._has_place(file, form) or self.block.view(np.int32, MARK * file.number, 1)[0] != form.mark:
            return None
        height, width = form.shape(file)
        pixels = self.block.view(np.uint8, int(self.starts[file.number]), 3 * height * width)
        return pixels.reshape(height, width, 3).copy()

    def put(self, file: File, form: Form, pixels: np.ndarray) -> None:
        """Keep them, if they have a place and are of the shape that was foreseen."""
        if not self._has_place(file, form) or pixels.shape != (*form.shape(file), 3):
            return
        mark = self.block.view(np.int32, MARK * file.number, 1)
        mark[0] = 0  # nobody reads half of them
        self.block.view(np.uint8, int(self.starts[file.number]), pixels.size)[:] = pixels.reshape(-1)
        mark[0] = form.mark

    def _has_place(self, file: File, form: Form) -> bool:
        height, width = form.shape(file)
        return isinstance(form, Detail) == file.training and 3 * height * width <= self.sizes[file.number]

    @property
    def trouble(self) -> str:
        """What went wrong since; nothing can."""
        return ""


def places(sizes: Sequence[int], room: int) -> list[int]:
    """The same sizes, 0 for those that no longer fit into ``room`` bytes."""
    kept = []
    for size in sizes:
        kept.append(size if size <= room else 0)
        room -= kept[-1]
    return kept
