"""A sheet of images under their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgclf.runs import atomic_write

INCHES = 2.2  # the side of one image


def grid_plot(images: Sequence[Any], titles: Sequence[str], path: Path, columns: int | None = None) -> Path:
    """Write a sheet of images.

    Args:
        images: Arrays (H, W, 3), uint8.
        titles: One above each image.
        columns: None: as square as it gets.
    """
    from matplotlib.figure import Figure

    columns = columns or max(1, round(len(images) ** 0.5))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(INCHES * columns, (INCHES + 0.3) * rows), layout="constrained")
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1, xticks=(), yticks=())  # laying out ticks takes half the time
        axes.imshow(image)
        axes.set_title(title[:24].replace("$", r"\$"), fontsize=9)
        axes.set_axis_off()
    return atomic_write(path, lambda p: figure.savefig(p, dpi=110))
