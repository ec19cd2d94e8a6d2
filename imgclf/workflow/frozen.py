"""What the pretrained body says of images, as it was before any training."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from imgclf.data.images import Preprocess
from imgclf.shipping import inference
from imgclf.shipping.forward import torch_forward
from imgclf.shipping.inference import Predictor
from imgclf.training import network
from imgclf.training.archs import Arch
from imgclf.training.weights import Weights


def features(
    arch: Arch,
    weights: Weights,
    preprocess: Preprocess,
    device: str,
    paths: Iterable[Path],
    done: Callable[[], object] = lambda: None,
) -> list[np.ndarray | None]:
    """The pooled features (F,) float32 of each file in order; None for one that cannot be read. One pass, no head.

    Args:
        weights: Pretrained.
        done: Called after each file.
    """
    seen = torch_forward(network.pretrained(arch, weights, preprocess.channels), preprocess, device)

    def see(images: np.ndarray) -> inference.Seen:
        return np.zeros((len(images), 1), np.float32), seen(images)[1]  # nothing is classified yet

    frozen = Predictor("frozen body", ("",), preprocess, "bundle", None, lambda images: see(images)[0], see=see)
    found = []
    for answer in frozen.predict(paths):
        done()
        found.append(answer.features)
    return found
