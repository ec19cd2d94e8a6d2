"""A tiny real model, as `vision_learner` builds it, and photos for it."""

from pathlib import Path

import numpy as np
import pytest
import support
import torch
from fastai.vision.learner import create_head
from PIL import Image
from torch import nn

from imgclf.data.images import Preprocess
from imgclf.shipping import bundle, layers

CLASSES = ("zebra", "äpfel/birne", "cat 猫")  # not sorted, not ASCII, not a file name
SIZE = 64


def network(**head) -> nn.Sequential:
    """Half a resnet18 with fastai's head; its BatchNorm has seen images, so that its answers differ by photo.

    Whole ones are exported in tests/integration/test_exports.py.
    """
    torch.manual_seed(14)  # with it each of the three classes is the answer for some photo
    net = nn.Sequential(support.short_body(), create_head(128, len(CLASSES), **head))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, SIZE, SIZE) + torch.randn(4, 3, 1, 1))
    return net.eval()


def record(net: nn.Sequential, **changes) -> bundle.Record:
    values = {
        "classes": CLASSES,
        "preprocess": Preprocess(size=SIZE),
        "arch": "resnet18",
        "cut": -4,
        "head": layers.describe(net[1]),
        "temperature": 0.3,
        "metrics": {"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 3}},
        "training": {"run": "test", "seed": 1},
    }
    return bundle.Record(**{**values, **changes})


def make_photos(folder: Path, n: int = 6) -> list[Path]:
    """Smooth random pictures of several sizes, as PNG and JPEG; the last one lies on its side (EXIF orientation 6)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    paths = []
    for i in range(n):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((90 + 11 * i, 120 - 7 * i), Image.Resampling.BICUBIC)
        path = folder / (f"photo {i}.jpg" if i % 2 else f"photo {i}.png")
        exif = Image.Exif()
        exif[0x0112] = 6 if i == n - 1 else 1
        image.save(path, exif=exif)
        paths.append(path)
    return paths


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    with support.one_thread():
        yield


@pytest.fixture(scope="session")
def net() -> nn.Sequential:
    return network()


@pytest.fixture(scope="session")
def model(net, tmp_path_factory) -> Path:
    """A bundle folder; not to be changed."""
    folder = tmp_path_factory.mktemp("model")
    bundle.save(folder, net.state_dict(), record(net))
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> list[Path]:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def make_record(net):
    return lambda **changes: record(net, **changes)


@pytest.fixture
def make_network():
    return network
