"""What the number of images, and of classes, costs: everything between a folder and the first batch, and a whole run.

    python scripts/bench_scale.py images [--sizes 1000 10000] [--side 24] [--json FILE]
    python scripts/bench_scale.py classes [--classes 10000] [--json FILE]

`images`: PNG files of SIDE pixels in ten classes are made in a temporary folder (add 100000 to the sizes for a quarter
of an hour), and each size is gone through in a process of its own: scan, check (decode, hash, compare) with an empty
cache and again with a full one, split, also with alike images kept together, what a run writes down, loaders, and each
epoch's set-up until its first batch is there. Prints microseconds of processor time an image, how much more an image
of the largest size takes than one of the smallest, and what memory an image takes: the peak of the process once all is
set up, and how much more it is after two passes over up to 200 batches.

`classes`: one epoch of ResNet-18 from random weights at 32 pixels on two images of each of 10,000 classes, through the
command line, to the finished report.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching

CLASSES, BATCH = 10, 64
PASS = 200  # batches: as many for every size
# Noise of the clock: what takes less than this an image says nothing about growth.
NEGLIGIBLE_US = 5.0


def make(folder: Path, n: int, side: int, classes: int = CLASSES) -> Path:
    """``n`` different pictures, every class in turn."""
    random = np.random.default_rng(n)
    names = [f"class {i:05d}" for i in range(classes)]
    for name in names:
        (folder / name).mkdir(parents=True)
    for i in range(n):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / names[i % classes] / f"{i:06d}.png", compress_level=1)
    return folder


def stages(folder: Path) -> dict[str, Any]:
    """Every stage on the folder, in this process."""
    import torch

    from imgclf.config import load_config
    from imgclf.console import Terminal
    from imgclf.data import alike, checks, leaks, loaders, scan, survey
    from imgclf.data.garbage import seldom_collected
    from imgclf.data.prepare import Prepared

    settings = {"data.path": str(folder), "data.batch_size": BATCH, "data.workers": 0, "augment.size": 32}
    cfg = load_config(None, **settings, **{"augment.presize": 36, "train.device": "cpu"})
    took: dict[str, float] = {}

    def stage(name: str, work: Callable[[], Any], within: Any = seldom_collected) -> Any:
        started = time.process_time()
        with within():  # as in `prepare`, which does all but the last of them
            found = work()
        took[name] = time.process_time() - started
        return found

    gc.collect()
    gc.freeze()  # a look through all that the imports made would be some stage's, by chance
    before = benching.most_mb()
    found = stage("scan", lambda: scan.scan(cfg, terminal=Terminal(quiet=True)))
    stage("check", lambda: survey.inspect(found.root, found.items))
    looked_at = stage("check again", lambda: survey.inspect(found.root, found.items))
    same = stage("compare", lambda: alike.find(found.root, looked_at))
    good = checks.without_bad(found, looked_at)
    divided = stage("split", lambda: leaks.divide(cfg, good, same, False))
    stage("split, alike together", lambda: leaks.divide(cfg, good, same, True))
    made = Prepared(found, looked_at, same, divided)
    stage("split.csv, manifest", lambda: (made.split_csv, made.fingerprint, made.findings))
    dls = stage("loaders", lambda: loaders.build(cfg, made.dataset, torch.device("cpu")), nullcontext).dls

    def first_batch() -> None:
        loaders.reseed(dls, 7)
        next(iter(dls.train))

    stage("epoch", first_batch, nullcontext)
    stage("epoch, again", first_batch, nullcontext)
    ready = benching.most_mb()
    for _ in range(2):
        batches = iter(dls.train)
        for _ in range(PASS):
            next(batches, None)
    return {
        "images": len(found.items),
        "seconds": took,
        "before_mb": before,
        "ready_mb": ready,
        "read_mb": benching.most_mb(),
    }


def of_images(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for n in options.sizes:
        make(folder / str(n), n, options.side)
        env = {"IMGCLF_CACHE": str(folder / f"cache {n}"), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        rows.append(benching.run([sys.executable, __file__, "--child", folder / str(n), "images"], env))
        print(f"{n} images: {rows[-1]['seconds']}", file=sys.stderr, flush=True)
    cost = [{name: 1e6 * s / row["images"] for name, s in row["seconds"].items()} for row in rows]
    print(f"{'us an image':22}" + "".join(f"{row['images']:>10,}" for row in rows) + "    more")
    more = {}
    for name in cost[0]:
        more[name] = cost[-1][name] / max(cost[0][name], NEGLIGIBLE_US)
        print(f"{name:22}" + "".join(f"{each[name]:10.1f}" for each in cost) + f"{more[name]:8.2f}")
    small, large = rows[0], rows[-1]
    index = 1024 * (large["ready_mb"] - small["ready_mb"]) / (large["images"] - small["images"])
    reading = [row["read_mb"] - row["ready_mb"] for row in rows]
    print(f"memory: {index:.1f} KB an image; reading adds " + ", ".join(f"{mb:.0f} MB" for mb in reading))
    goals = [
        benching.goal(
            "an image of the largest size over one of the smallest, costliest growth", [max(more.values())], at_most=1.5
        ),
        benching.goal("memory, KB an image", [index], at_most=10),
        benching.goal("memory that reading adds, largest less smallest, MB", [reading[-1] - reading[0]], at_most=50),
    ]
    return {"rows": rows, "us_an_image": cost, "goals": goals}


def of_classes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    data = make(folder / "images", 2 * options.classes, options.side, options.classes)
    command = [
        sys.executable, "-m", "imgclf", "train", "--json", "-d", data, "-a", "resnet18", "-e", "1", "--lr", "1e-3",
        "--size", "32", "--presize", "36", "-b", "256", "--runs-dir", folder / "runs", "--name", "run",
        "--set", "model.pretrained=false", "--set", "data.valid_pct=0.5", "--set", "data.workers=0",
    ]  # fmt: skip
    found = benching.run(command, {"IMGCLF_CACHE": str(folder / "cache"), "PYTHONWARNINGS": "ignore"})
    page = (folder / "runs" / "run" / "report.html").stat().st_size / 2**20
    print(
        f"{options.classes:,} classes, {found['n_train']:,} + {found['n_valid']:,} images: {found['seconds']:.0f} s, "
        f"{found['processor_s']:.0f} s of processor, {found['memory_mb']:.0f} MB, report {page:.1f} MB"
    )
    return {"run": found, "report_mb": page}


def main() -> None:
    parser = benching.parser(__doc__, repeats=1)
    parser.add_argument("part", choices=["images", "classes"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.child:
        print(json.dumps(stages(options.child)), flush=True)
        os._exit(0)  # not what libraries say at their end: the last line is the result
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        measure = of_images if options.part == "images" else of_classes
        benching.write(options, **measure(options, Path(name)))


if __name__ == "__main__":
    main()
