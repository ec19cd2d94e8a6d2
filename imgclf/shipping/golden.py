"""Golden images: a few pictures that travel with an export, with the answers to expect of it anywhere."""

import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imgclf.data.images import Preprocess, open_image
from imgclf.errors import ModelError
from imgclf.shipping.inference import Predictor
from imgclf.shipping.tolerance import ANY_SIZE, REPEATED

N_GOLDEN = 3
MOST = 64  # of somebody else's
MOST_SIDE = 3  # times the model's size: of a golden image where the file takes any


def make(reference: Predictor, artefact: Predictor | None, fmt: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The first few readable images, without loss, with the answers to expect of the file.

    They are the model's; where the file's are others, as in 8 bits, its own. Images have the model's size, unless the
    file takes any.
    """
    answering = artefact if artefact and fmt in REPEATED else reference
    golden: list[dict[str, Any]] = []
    for prediction in reference.predict(paths, batch_size=N_GOLDEN):
        if prediction.error is None:
            image = _of_any_size(prediction.path, reference.preprocess) if fmt in ANY_SIZE else None
            pixels = reference.preprocess.load(prediction.path)
            fitted = pixels if image is None else np.asarray(reference.preprocess.fit(image))
            expected = answering.probs(fitted[None])[0]
            png = _to_png(image or Image.fromarray(pixels))
            golden.append({"png": png, "probs": [float(p) for p in expected]})
        if len(golden) == N_GOLDEN:
            break
    return golden


def arrays(facts: dict[str, Any], where: Path, predictor: Predictor) -> tuple[list[np.ndarray], np.ndarray]:
    """Golden images, uint8 (H, W, 3) each, and the answers expected for them (N, C) float32.

    Args:
        facts: The record beside an export, which may come from anywhere; ``where`` is its file.

    Raises:
        ModelError: if they cannot be read, or are for another model.
    """
    side = predictor.preprocess.size
    any_size = facts["format"] in ANY_SIZE
    try:
        rows = facts["golden"]["images"]
        images = [_from_png(row["png"], MOST_SIDE * side if any_size else side) for row in rows[:MOST]]
        expected = np.array([row["probs"] for row in rows[:MOST]], np.float32)
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as e:
        raise ModelError(f"the golden images in {where} cannot be read: {e}"[:300]) from e
    fits = any_size or all(image.shape == (side, side, 3) for image in images)
    if not images or not fits or expected.shape != (len(images), len(predictor.classes)):
        raise ModelError(f"the golden images in {where} are not for this model")
    return images, expected


def _of_any_size(path: Path, preprocess: Preprocess) -> Image.Image:
    """The photograph, its longer side at most ``MOST_SIDE`` times the model's."""
    image, most = preprocess.open(path, preprocess.decode_pixels), MOST_SIDE * preprocess.size
    image.thumbnail((most, most))
    return image


def _to_png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _from_png(text: str, most_side: int) -> np.ndarray:
    with open_image(io.BytesIO(base64.b64decode(text, validate=True)), ["PNG"]) as image:
        if max(image.size) > most_side:  # before anything is decoded
            raise ValueError(f"one has {image.width} x {image.height} pixels")
        return np.asarray(image.convert("RGB"))
