"""A sheet of images under their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgclf.results.lettering import short
from imgclf.results.plots import figure_of, save_figure

INCHES = 2.2  # the side of one image


def grid_plot(images: Sequence[Any], titles: Sequence[str], path: Path, columns: int | None = None) -> Path:
    """Write a sheet of images.

    Args:
        images: Arrays (H, W, 3), uint8.
        titles: One above each image.
        columns: None: as square as it gets.
    """
    columns = columns or max(1, round(len(images) ** 0.5))
    rows = -(-len(images) // columns)
    figure, panels = figure_of(INCHES * columns, (INCHES + 0.3) * rows, rows, columns)
    for axes in panels:
        axes.set(xticks=(), yticks=())  # laying out ticks takes half the time
        axes.set_axis_off()
    for axes, image, title in zip(panels, images, titles, strict=False):
        axes.imshow(image)
        axes.set_title(short(title), fontsize=9)
    return save_figure(figure, path)
