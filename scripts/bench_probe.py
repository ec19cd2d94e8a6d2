"""The probe beside other ways to a head on frozen features: validation error with few and with all images of a class.

    python scripts/bench_probe.py DATA WEIGHTS [--arch resnet18] [--size 224] [--counts 3 5 10 all] [--seeds 3]
        [--uneven] [--json FILE]

DATA is anything `imgclf train -d` takes with one label an image. The features are made once; the rows differ only in
the head: imgclf's probe; its rule before any logistic regression, with each image's features normalised and without;
scikit-learn's logistic regression with its penalty chosen by cross-validation; and the nearest neighbours. For a number
of images a class, that many are drawn from the training images, with each seed anew. With --uneven classes are drawn
of as many images as the smallest has, down to a twentieth of that (two at least); the images judged count as often as
their class is in training, and the mean recall of the classes is told as well.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data.loaders import unaugmented
from imgclf.training import features, logistic, probe
from imgclf.training.precision import autocast
from imgclf.workflow import session

Answers = Callable[[Tensor, Tensor, Tensor, int], np.ndarray]


def by_probe(x: Tensor, y: Tensor, judged: Tensor, n_classes: int) -> np.ndarray:
    x = _normalised(x)
    return _answers(logistic.refine(_rule(x, y, n_classes), x, y), _normalised(judged))


def by_rule(x: Tensor, y: Tensor, judged: Tensor, n_classes: int) -> np.ndarray:
    return by_plain_rule(_normalised(x), y, _normalised(judged), n_classes)


def by_plain_rule(x: Tensor, y: Tensor, judged: Tensor, n_classes: int) -> np.ndarray:
    return _answers(_rule(x, y, n_classes), judged)


def _normalised(x: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[1:])


def _rule(x: Tensor, y: Tensor, n_classes: int) -> probe.LinearHead:
    head = probe.fit(x, y, n_classes)
    assert head is not None, "no class has two images"
    return head


def _answers(head: probe.LinearHead, judged: Tensor) -> np.ndarray:
    return np.asarray((judged @ head.weight.T + head.bias).argmax(1))


def by_regression(x: Tensor, y: Tensor, judged: Tensor, n_classes: int) -> np.ndarray:
    model = LogisticRegressionCV(Cs=np.logspace(-4, 1, 6), cv=3, max_iter=300, scoring="neg_log_loss")
    return np.asarray(make_pipeline(StandardScaler(), model).fit(x, y).predict(judged))


def by_neighbours(x: Tensor, y: Tensor, judged: Tensor, n_classes: int) -> np.ndarray:
    return np.asarray(KNeighborsClassifier(min(5, len(x)), metric="cosine").fit(x, y).predict(judged))


WAYS: dict[str, Answers] = {
    "probe": by_probe,
    "its rule": by_rule,
    "on the plain features": by_plain_rule,
    "logistic regression": by_regression,
    "nearest neighbours": by_neighbours,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--counts", nargs="+", default=["3", "5", "10", "all"])
    parser.add_argument("--uneven", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.uneven and options.json:
        parser.error("--json has no rows of --uneven")
    warnings.filterwarnings("ignore", category=FutureWarning, module="sklearn")
    started = time.perf_counter()
    (x, y), (judged, truth), n_classes = frozen_features(options)
    print(f"features of {len(x)} + {len(judged)} images: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    rows = []
    if options.uneven:
        uneven(options.seeds, x, y, judged, truth)
        return
    for count in (None if count == "all" else int(count) for count in options.counts):
        for name, answers in WAYS.items():
            errors, seconds = [], []
            for seed in range(options.seeds if count else 1):
                some = drawn(y, count, seed)
                began = time.perf_counter()
                errors.append(float(np.mean(answers(x[some], y[some], judged, n_classes) != truth.numpy())))
                seconds.append(time.perf_counter() - began)
            rows.append({"images_a_class": count, "head": name, "errors": errors, "seconds": statistics.mean(seconds)})
            each = " ".join(f"{error:.3f}" for error in errors)
            print(
                f"{count or 'all':>4} {name:22} {statistics.mean(errors):.3f}  ({each})  {seconds[-1]:.1f} s",
                flush=True,
            )
    if options.json:
        options.json.write_text(
            json.dumps({"data": options.data, "arch": options.arch, "size": options.size, "rows": rows})
        )


def uneven(seeds: int, x: Tensor, y: Tensor, judged: Tensor, truth: Tensor) -> None:
    """Print error, of images as frequent as in training, and mean recall of each head for classes of uneven sizes."""
    n_classes, top = int(y.max()) + 1, int(torch.bincount(y).min())
    for name, answers in WAYS.items():
        rows = []
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(seed)
            order, rank = torch.randperm(len(y), generator=generator), torch.randperm(n_classes, generator=generator)
            sizes = (top * 0.05 ** (rank / (n_classes - 1))).round().int().clamp(min=2)
            some = torch.cat([order[y[order] == c][:n] for c, n in enumerate(sizes.tolist())])
            right = torch.from_numpy(answers(x[some], y[some], judged, n_classes)) == truth
            recall = torch.tensor([right[truth == c].double().mean() for c in range(n_classes)])
            rows.append((1 - (recall * sizes).sum().item() / sizes.sum().item(), recall.mean().item()))
        told = ["  ".join(f"{row[i]:.3f}" for row in rows) for i in range(2)]
        print(f"uneven {name:22} error {told[0]}   recall {told[1]}", flush=True)


def frozen_features(options: argparse.Namespace) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    """Features and targets of training and validation images, and the number of classes."""
    settings = {"data.path": options.data, "model.arch": options.arch, "model.weights": str(options.weights)}
    sizes = {"augment.size": options.size, "augment.presize": max(options.size, 256), "model.first_bn": False}
    s = session.start(load_config("folder", **settings, **sizes, **{"data.labels": "auto"}), Terminal(quiet=True))
    parts = features.before_last(s.learn.model)
    assert parts is not None
    network, context = parts[0], autocast(s.hardware)
    dls = s.learn.dls
    train, valid = (features.extract(network, loader, context) for loader in (unaugmented(dls), dls.valid))
    return train, valid, len(s.data.dataset.classes)


def drawn(y: Tensor, count: int | None, seed: int) -> Tensor:
    """Indices of ``count`` images of each class, or of all images."""
    if count is None:
        return torch.arange(len(y))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[y[order] == c][:count] for c in range(int(y.max()) + 1)])


if __name__ == "__main__":
    main()
