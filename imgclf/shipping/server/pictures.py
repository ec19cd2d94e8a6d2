"""Small pictures inside JSON: the image as the model saw it, and its heat map to lay over it."""

import base64
import io

import numpy as np
from PIL import Image

OPACITY = 0.65


def tinted(heat: np.ndarray) -> np.ndarray:
    """A heat map (S, S), 0 to 1, as RGBA (S, S, 4) uint8: the more, the brighter and the less transparent."""
    from matplotlib import colormaps

    pixels = colormaps["inferno"](heat)
    pixels[..., 3] = OPACITY * heat
    return np.asarray((pixels * 255).round(), np.uint8)


def as_png(pixels: np.ndarray) -> str:
    """RGB or RGBA uint8 as a ``data:`` address."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
