"""A data set a tiny network can learn in a few steps: discs, squares and stripes on noise."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("disc", "square", "stripes")
SIDE = 40


def shape(kind: str, seed: int, side: int = SIDE) -> Image.Image:
    """One picture: a bright shape of random place and size on dark noise."""
    return picture([kind], np.random.default_rng([KINDS.index(kind), seed]), side)


def picture(kinds: Iterable[str], rng: np.random.Generator, side: int = SIDE) -> Image.Image:
    """Bright shapes of random places and sizes on dark noise."""
    image = Image.fromarray(rng.integers(0, 90, (side, side + 8, 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    for kind in kinds:
        colour = tuple(int(v) for v in rng.integers(150, 256, 3))
        r = int(rng.integers(side // 4, side // 3))
        x, y = int(rng.integers(r + 4, image.width - r - 4)), int(rng.integers(r + 1, side - r - 1))
        if kind == "disc":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif kind == "square":
            draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
        else:
            for offset in range(-r, r, 6):
                draw.line((x - r, y + offset, x + r, y + offset), fill=colour, width=2)
    return image


def write(root: Path, per_class: int = 20, valid_per_class: int = 0) -> Path:
    """One folder per class; with ``valid_per_class`` below ``train/`` and ``valid/``."""
    parts = (
        [("train", 0, per_class), ("valid", per_class, valid_per_class)] if valid_per_class else [("", 0, per_class)]
    )
    for part, start, n in parts:
        for kind in KINDS:
            folder = root / part / kind
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(start, start + n):
                shape(kind, i).save(folder / f"{kind} {i}.png")
    return root


# Pure colours, which a tiny network tells apart in a few steps.
COLOURS = {"blue": (40, 40, 255), "green": (40, 255, 40), "red": (255, 40, 40)}


def write_multi(root: Path, n: int = 64) -> Path:
    """A table of pictures with none to three squares of different colours: the colours are the labels."""
    rows = ["image,labels"]
    (root / "images").mkdir(parents=True)
    for i in range(n):
        rng = np.random.default_rng([7, i])
        image = Image.fromarray(rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8))
        chosen = [name for bit, name in enumerate(COLOURS) if i >> bit & 1]
        for corner, name in zip(rng.permutation(4), chosen, strict=False):
            x, y = 2 + 20 * int(corner % 2), 2 + 20 * int(corner // 2)
            ImageDraw.Draw(image).rectangle((x, y, x + 15, y + 15), fill=COLOURS[name])
        image.save(root / "images" / f"{i:03d}.png")
        rows.append(f"{i:03d}.png,{' '.join(chosen)}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def write_with_weights(root: Path, per_class: int) -> Path:
    """``images/`` as ``write`` makes them, and ``weights.pth``: a ResNet-18 at random, whose features still differ."""
    import torch
    from torchvision.models import resnet18

    write(root / "images", per_class)
    torch.manual_seed(7)
    torch.save(resnet18(weights=None).state_dict(), root / "weights.pth")
    return root


def pretrained(root: Path) -> list[str]:
    """Options of a small run on what ``write_with_weights`` has made."""
    return [
        *("-d", str(root / "images"), "--set", f"model.weights={root / 'weights.pth'}", "--set", "model.cut=-4"),
        *("-a", "resnet18", "--size", "32", "--presize", "36", "-b", "8", "--device", "cpu", "--quiet"),
        *("--set", "train.precision=fp32", "--set", "data.workers=0"),
    ]  # fmt: skip
