"""Any kind of pixels as RGB, and RGB as grey."""

from typing import Any

import numpy as np
from PIL import Image

BACKGROUND = (255, 255, 255)
GreyRange = tuple[float, float]


def is_deep(mode: str) -> bool:
    """Whether a Pillow mode is grey of more than 8 bits."""
    return mode.startswith("I;16") or mode in ("I", "F")


def to_rgb(image: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """Any Pillow mode as RGB, by an explicit table (a plain ``convert`` turns 16-bit grey white)."""
    keyed = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    if image.mode == "RGB" and not keyed:
        return image
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or keyed:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*BACKGROUND, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    if is_deep(image.mode):
        return Image.fromarray(_scale_by_range(np.asarray(image), grey_range)).convert("RGB")
    return image.convert("RGB")


def luma(red: Any, green: Any, blue: Any) -> Any:
    """The grey of RGB in 0 to 255, rounded exactly as Pillow's ``convert("L")`` rounds.

    For float32 arrays of NumPy or torch alike, and so for ONNX: every sum stays below 2**24, where float32 holds whole
    numbers exactly. Grey pixels keep their value, as the three weights sum to 65,536.
    """
    return (red * 19595 + green * 38470 + blue * 7471 + 32768) // 65536


def is_grey(image: Image.Image) -> bool:
    """Whether an RGB image has no colour."""
    red, green, blue = image.split()
    return red.tobytes() == green.tobytes() == blue.tobytes()


def _scale_by_range(pixels: np.ndarray, grey_range: GreyRange | None) -> np.ndarray:
    """Grey of more than 8 bits as 8 bits: the range asked for, else the full one of 16 bits, else its own."""
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = grey_range or _own_range(pixels, values)
    return np.clip((values - low) / max(high - low, 1e-12) * 255, 0, 255).round().astype(np.uint8)


def _own_range(pixels: np.ndarray, values: np.ndarray) -> GreyRange:
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(pixels.dtype, np.integer) and low >= 0 and 255 < high <= 65535:
        low, high = 0.0, 65535.0
    if low >= 0 and high <= 255:
        low, high = 0.0, 255.0 if high > 1 else 1.0
    return low, high
