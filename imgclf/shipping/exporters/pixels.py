"""The whole model as one module, pixels to calibrated probabilities: what the formats that hold a graph are made of."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from imgclf.shipping import layers
from imgclf.shipping.record import Record


class PixelsToProbs(nn.Module):
    """uint8 RGB (N, H, W, 3) to calibrated probabilities (N, C) float32.

    Scaling, normalisation, temperature and softmax (for several labels an image: sigmoid) are inside, so that the users
    of a file cannot get them wrong.

    Args:
        half: Compute the network, and only it, in 16 bits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, record: Record, half: bool = False) -> None:
        super().__init__()
        self.net = net.half() if half else net
        self.half_inside = half
        self.temperature = record.temperature
        self.multi = record.task == "multi"
        self.register_buffer("mean", torch.tensor(record.preprocess.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(record.preprocess.std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = layers.model_input(image, self.mean, self.std)
        logits = (self.net(x.half()).float() if self.half_inside else self.net(x)) / self.temperature
        return torch.sigmoid(logits) if self.multi else torch.softmax(logits, 1)


def example(side: int) -> Tensor:
    """Two black images, as torch.export takes a size of 1 for a constant."""
    return torch.zeros(2, side, side, 3, dtype=torch.uint8)


def metadata(record: Record) -> dict[str, str]:
    """What a reader of the file needs beside the graph; each value is JSON."""
    facts = {
        "classes": list(record.classes),
        "preprocess": record.preprocess.to_dict(),
        "imgclf_version": record.imgclf_version,
        "temperature": record.temperature,
        "task": record.task,
        "thresholds": record.cutoffs,
        "abstention": record.metrics.get("abstention", []),
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch's exporters print, warn and log about their own inner workings; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
