"""Models of other programs as a bundle's parts, each with its own answers to compare the bundle's with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from imgclf.data.images import Preprocess
from imgclf.shipping import layers
from imgclf.shipping.record import Record


@dataclass(frozen=True)
class Original:
    """A model as its own program has it, and what a bundle needs of it.

    Attributes:
        kind: In words, such as ``fastai learner``.
        state: Tensors of ``Sequential(body, head)``.
        probs: Decoded RGB images of any size to probabilities (N, C) float32, all of it the original's own work.
        same_pixels: The same with imgclf's resizing before the original's network; None: ``probs`` does that already.
        passed_over: Steps of its preparation of images that a bundle cannot do, in words.
    """

    kind: str
    state: dict[str, Tensor] = field(repr=False)
    record: Record
    probs: Callable[[Sequence[Image.Image]], np.ndarray] = field(repr=False)
    same_pixels: Callable[[Sequence[Image.Image]], np.ndarray] | None = field(default=None, repr=False)
    passed_over: tuple[str, ...] = ()


def on_fitted(
    network: nn.Module, preprocess: Preprocess, activation: Callable[[Tensor], Tensor]
) -> Callable[[Sequence[Image.Image]], np.ndarray]:
    """Decoded images to what ``activation`` makes of a network's logits, resized and normalised as imgclf does it."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std))
    network.eval()

    def probs(images: Sequence[Image.Image]) -> np.ndarray:
        found = []
        with torch.inference_mode():
            for image in images:
                pixels = torch.from_numpy(np.array(preprocess.fit(image)))[None]
                found.append(activation(network(layers.model_input(pixels, mean, std)).float())[0])
        return np.asarray(torch.stack(found).numpy(), np.float32)

    return probs
