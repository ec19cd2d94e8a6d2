"""What the probe makes of other features of the same frozen body: validation error and loss, one row each.

    python scripts/bench_features.py DATA… --weights WEIGHTS [--arch resnet18] [--size 224] [--json FILE]

DATA as in bench_recipe.py. Every image and its mirror image go through the body once. `mirrored`: the mirror images of
the training images are fitted too; `both`: the mean of the answers for a validation image and its mirror image. For
several labels an image the error is 1 - mAP.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from imgclf.console import Terminal
from imgclf.data.loaders import unaugmented
from imgclf.training import features, probe
from imgclf.training.precision import autocast
from imgclf.workflow import session
from scripts import benching
from scripts.bench_recipe import configured, lay_out, several, source

Seen = dict[str, Tensor]  # "average", "maximum" of the last stage, "third": the average of the one before; (N, F)


class Stages(nn.Module):
    """A ResNet's body, pooled in three ways: (N, channels, H, W) to (N, 2 F + F3)."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.before, self.last = body[:-1], body[-1]

    def forward(self, x: Tensor) -> Tensor:
        third = self.before(x)
        last = self.last(third).float()
        return torch.cat([last.mean((2, 3)), last.amax((2, 3)), third.float().mean((2, 3))], 1)


class Mirrored(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x.flip(3))
        return found


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def normal(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])


WAYS: dict[str, Callable[[Seen], Tensor]] = {
    "as they are": lambda seen: seen["average"],
    "unit length": lambda seen: unit(seen["average"]),
    "mean 0, variance 1": lambda seen: normal(seen["average"]),
    "square roots": lambda seen: unit(seen["average"].clamp(min=0).sqrt()),
    "with the maximum": lambda seen: torch.cat([normal(seen["average"]), normal(seen["maximum"])], 1),
    "with stage three": lambda seen: torch.cat([normal(seen["average"]), normal(seen["third"])], 1),
}


def look(data: str, options: argparse.Namespace, folder: Path) -> tuple[list[list[Seen]], Tensor, Tensor]:
    """Features of training and validation images, each as they are and mirrored; the targets of both."""
    lay_out(data, 1, options.set, folder)
    path, more = source(folder)
    asked = {"data.path": str(path), "model.arch": options.arch, "augment.size": options.size, **more,
             "model.weights": str(options.weights)}  # fmt: skip
    s = session.start(configured(options.set, **asked), Terminal(quiet=True))
    body: Any = s.learn.model[0]
    width = s.learn.model[1][-1].in_features
    found, targets = [], []
    for loader in (unaugmented(s.learn.dls), s.learn.dls.valid):
        views = []
        for network in (Stages(body), Mirrored(Stages(body))):
            x, y = features.extract(network, loader, autocast(s.hardware))
            views.append({"average": x[:, :width], "maximum": x[:, width : 2 * width], "third": x[:, 2 * width :]})
        found.append(views)
        targets.append(y)
    return found, targets[0], targets[1]


def fitted(x: Tensor, y: Tensor, twice: bool) -> probe.LinearHead:
    """The probe; where the mirror images follow the images, both of a pair are held out together."""
    pairs = np.tile(np.arange(len(y) // 2), 2) if twice else None
    if y.dim() == 2:
        return probe.fit_labels(x, y, pairs)
    head = probe.fit(x, y, int(y.max()) + 1, pairs)
    assert head is not None, "no class has two images"
    return head


def judged(scores: Tensor, y: Tensor) -> benching.Figures:
    if y.dim() == 2:
        error = 1 - float(average_precision_score(y.numpy(), scores.numpy()))
        return {"error": error, "loss": F.binary_cross_entropy_with_logits(scores, y.float()).item()}
    return {"error": (scores.argmax(1) != y).double().mean().item(), "loss": F.cross_entropy(scores, y).item()}


def measure(data: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one data set."""
    with tempfile.TemporaryDirectory() as temporary:
        (train, valid), y, truth = look(data, options, Path(temporary))
        many = several(Path(temporary))
    rows = []
    for name, way in WAYS.items():
        for mirrored in (False, True)[: 1 if many else 2]:
            x = torch.cat([way(view) for view in train]) if mirrored else way(train[0])
            head = fitted(x, y.repeat(2) if mirrored else y, mirrored)
            one, two = (way(view) @ head.weight.T + head.bias for view in valid)
            figures = judged(one, truth)
            both = judged((one.softmax(1) + two.softmax(1)).log() if not many else (one + two) / 2, truth)
            rows.append({"data": data, "features": name, "mirrored": mirrored, **figures, "both": both["error"]})
            print(
                f"{name + ', mirrored' * mirrored:30} error {figures['error']:.3f}  loss {figures['loss']:.3f}  "
                f"both {both['error']:.3f}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for data in options.data:
        print(f"{data}, {options.arch}, {options.size} pixels")
        rows += measure(data, options)
    benching.write(options, rows=rows)


if __name__ == "__main__":
    main()
