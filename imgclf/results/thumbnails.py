"""Small pictures inside a page, bounded in pixels and so in bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imgclf.console import logger
from imgclf.data.images import decode, open_image
from imgclf.runs import atomic_write

SIDE = 112  # pixels of the longer side
QUALITY = 78
OPACITY = 0.65  # of the hottest place
GAP, LINE = 6, 18  # pixels of a sheet: between pictures, and a line of text


def thumbnail(path: Path, side: int = SIDE) -> bytes | None:
    """A file as a small JPEG; None where it cannot be read: a page is no place to fail.

    JPEGs are decoded no finer than needed.
    """
    try:
        return jpeg(decode(path, at_least=side), side)
    except Exception as e:  # Pillow raises nearly anything on a damaged file
        logger.info("no thumbnail of %s: %s", path, e)
        return None


def jpeg(image: Image.Image, side: int = SIDE) -> bytes:
    """An RGB image as a JPEG whose longer side is at most ``side`` pixels."""
    small = image.copy()
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def heated(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """An image under its heat map.

    Args:
        image: (H, W, 3) uint8.
        heat: (H, W), 0 to 1.
    """
    from matplotlib import colormaps

    colours = colormaps["inferno"](heat)[..., :3] * 255
    opacity = OPACITY * heat[..., None]
    return Image.fromarray((image * (1 - opacity) + colours * opacity).round().astype(np.uint8))


def sheet(rows: Sequence[tuple[str, Sequence[bytes]]], path: Path) -> Path:
    """A PNG with a row of JPEGs under each title. Drawn without Matplotlib, which takes a second for so many panels."""
    opened = [(title, [open_image(io.BytesIO(data), ["JPEG"]) for data in pictures]) for title, pictures in rows]
    width = max(sum(image.width + GAP for image in images) - GAP for _, images in opened)
    heights = [LINE + max(image.height for image in images) + GAP for _, images in opened]
    made = Image.new("RGB", (width, sum(heights)), "white")
    pen, top = ImageDraw.Draw(made), 0
    for (title, images), height in zip(opened, heights, strict=True):
        pen.text((2, top + 2), title, "black")
        left = 0
        for image in images:
            made.paste(image, (left, top + LINE))
            left += image.width + GAP
        top += height
    return atomic_write(path, made.save)
