"""imgclf beside plain fastai: the same images, weights, recipe and seeds; validation error of each.

    python scripts/bench_reference.py FOLDER WEIGHTS [--seeds 1 2 3] [--epochs 3] [--size 224] [--json FILE]

FOLDER holds train/ and val/ with class folders; WEIGHTS is a ResNet-18 state dict as torchvision saves it. Three
rows: fastai's ``fine_tune`` (scripts/reference_fastai.py), imgclf told the same recipe and learning rate, imgclf as it
comes. The
imgclf rows give the error of the last epoch, like the reference, and of the best one, which is what imgclf ships.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def fastai(options: argparse.Namespace, seed: int, folder: Path) -> dict[str, float]:
    """The error of the plain script."""
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.weights, cache / "resnet18-f37072fd.pth")
    arguments = [options.folder, seed, options.epochs, options.size, options.batch_size]
    command = [sys.executable, HERE / "reference_fastai.py", *arguments]
    env = {**os.environ, "TORCH_HOME": str(folder / "torch"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=True)
    return {"last": float(done.stdout.split()[-1])}


def imgclf(options: argparse.Namespace, seed: int, folder: Path, *more: str) -> dict[str, float]:
    """The errors of a run of imgclf."""
    arguments = ["-d", options.folder, "-a", "resnet18", "-e", options.epochs, "--size", options.size, "--seed", seed]
    arguments += ["-b", options.batch_size, "--runs-dir", folder, "--set", f"model.weights={options.weights}", *more]
    command = [sys.executable, "-m", "imgclf", "train", "--json", "-q", *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    rows = list(csv.DictReader((Path(result["run_dir"]) / "history.csv").open(encoding="utf-8")))
    return {"last": float(rows[-1]["error_rate"]), "best": result["best"]["error_rate"], "lr": result["lr"]}


WAYS: dict[str, Any] = {
    "fastai fine_tune": fastai,
    "imgclf, book": lambda *arguments: imgclf(*arguments, "--lr", "2e-3", "--set", "train.recipe=book"),
    "imgclf": imgclf,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for seed in options.seeds:
        for name, run in WAYS.items():  # interleaved: a machine that slows down slows all of them
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                figures = run(options, seed, Path(folder))
            found[name].append({"seed": seed, **figures, "seconds": round(time.perf_counter() - started, 1)})
            print(name, found[name][-1], file=sys.stderr, flush=True)
    print(f"{'':20} {'last epoch':>24} {'best epoch':>12} {'seconds':>8}")
    for name, rows in found.items():
        last = [row["last"] for row in rows]
        best = [row["best"] for row in rows if "best" in row]
        each = " ".join(f"{value:.3f}" for value in last)
        shown = f"{statistics.mean(best):.3f}" if best else "-"
        seconds = statistics.median(row["seconds"] for row in rows)
        print(f"{name:20} {statistics.mean(last):.3f} ({each}) {shown:>12} {seconds:8.0f}")
    if options.json:
        options.json.write_text(json.dumps({"options": vars(options), "runs": found}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
