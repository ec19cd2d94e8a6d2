"""How many planted label errors are among the images that the review shows first?

    python scripts/bench_review.py DATA WEIGHTS [--arch resnet18] [--size 224] [--share 0.05] [--seeds 3] [--json FILE]

DATA is anything `imgclf train -d` takes with one label an image. The features of all training and validation images are
made once. For each seed that share of the labels is replaced by another class, drawn at random; the review ranks all
images, and those flipped are counted among its first tenth. Labels that were wrong before are found too, and count as
misses here.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data.loaders import preprocess_record
from imgclf.data.prepare import prepare
from imgclf.results.metrics import wilson
from imgclf.results.review import ranked
from imgclf.training import archs, weights
from imgclf.workflow import frozen
from imgclf.workflow.review import held_out

FIRST = 0.1  # of the images, as ranked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    features, targets, paths, classes = frozen_features(options)
    seconds = time.perf_counter() - started
    print(f"features of {len(features)} images: {seconds:.0f} s", file=sys.stderr)
    rows = [planted(features, targets, paths, classes, options.share, seed) for seed in range(1, options.seeds + 1)]
    for row in rows:
        print(f"seed {row['seed']}: {row['found']} of {row['flipped']} flipped labels in the first {row['shown']}, "
              f"{row['seconds']:.1f} s")  # fmt: skip
    found, flipped = sum(row["found"] for row in rows), sum(row["flipped"] for row in rows)
    share = wilson(found, flipped)
    print(f"together: {found} of {flipped}, {share.value:.2f} ({share.low:.2f} to {share.high:.2f})")
    if options.json:
        known = {"data": options.data, "arch": options.arch, "size": options.size, "images": len(targets)}
        options.json.write_text(json.dumps({**known, "seconds": seconds, "rows": rows}))


def frozen_features(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, list[str], tuple[str, ...]]:
    """Features (N, F), class numbers (N,), paths and classes of the training and validation images."""
    settings = {"data.path": options.data, "model.arch": options.arch, "model.weights": str(options.weights)}
    sizes = {"augment.size": options.size, "augment.presize": max(options.size, 256)}
    cfg = load_config("folder", **settings, **sizes, **{"data.labels": "auto"})
    dataset = prepare(cfg, Terminal(quiet=True)).dataset
    arch = archs.resolve(cfg)
    found = weights.resolve(cfg, arch)
    samples = [*dataset.train, *dataset.valid]
    record = preprocess_record(cfg, 3, (arch.mean, arch.std))
    seen = frozen.features(arch, found, record, "cpu", [dataset.path(s) for s in samples])
    rows = [row for row in seen if row is not None]
    assert len(rows) == len(samples), "an image cannot be read"
    return np.stack(rows), np.array(dataset.targets(samples)), [s.path for s in samples], dataset.classes


def planted(
    features: np.ndarray, targets: np.ndarray, paths: list[str], classes: tuple[str, ...], share: float, seed: int
) -> dict[str, Any]:
    """Flip labels, rank, and count those flipped among the first images."""
    rng = np.random.default_rng(seed)
    flipped = rng.permutation(len(targets))[: round(share * len(targets))]
    noisy = targets.copy()
    noisy[flipped] = (targets[flipped] + rng.integers(1, len(classes), len(flipped))) % len(classes)
    started = time.perf_counter()
    order = ranked(paths, ["train"] * len(paths), noisy, held_out(features, noisy, ()), classes)
    seconds = time.perf_counter() - started
    first = {suspect.path for suspect in order[: round(FIRST * len(order))]}
    found = sum(paths[i] in first for i in flipped)
    return {"seed": seed, "flipped": len(flipped), "shown": len(first), "found": found, "seconds": seconds}


if __name__ == "__main__":
    main()
