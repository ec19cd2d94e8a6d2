"""Small pictures inside a page, bounded in pixels and so in bytes."""

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from imgclf.data.images import decode

logger = logging.getLogger("imgclf")

SIDE = 112  # pixels of the longer side
QUALITY = 78
OPACITY = 0.65  # of the hottest place


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
