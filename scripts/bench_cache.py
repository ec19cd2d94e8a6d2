"""Images a second from 12-megapixel JPEGs to training batches: an epoch without a cache beside later epochs with one.

    python scripts/bench_cache.py [--workers 2] [--repeats 5] [--images 256] [--json FILE]

The pictures are those of `bench_data.py large`, twelve of them, in as many files of their own content as an epoch has
images. Three pipelines read them in turns (presize 460, size 224, batches of 32, the same workers): `data.cache: none`,
`ram` and `disk`, the last in a temporary folder. The first epoch of each fills its cache and is told apart. Nothing is
trained. Prints the median and the quickest of the later epochs, start of the workers included, the milliseconds of
processor time an image takes in all processes together, and the ratios to `none` within each round.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import bench_data
from scripts.bench_data import BATCH, MIN_SCALE, PRESIZE, SIZE, epoch, machine

KINDS = ("none", "ram", "disk")


def make(folder: Path, n: int) -> list[Path]:
    """``n`` JPEGs of 12 megapixels, no two of the same content: a decoder stops before what is added at the end."""
    originals = sorted(set(bench_data.make(folder / "made", "large", None)))
    files = folder / "photos"
    files.mkdir()
    for i in range(n):
        original = originals[i % len(originals)]
        (files / f"{'ab'[i % 2]}_{i}.jpg").write_bytes(original.read_bytes() + str(i).encode())
    return sorted(files.iterdir())


def loader(files: list[Path], kind: str, workers: int) -> Any:
    import torch

    from imgclf.config import load_config
    from imgclf.data import loaders, survey
    from imgclf.data.samples import Sample
    from imgclf.data.split import Dataset

    root = files[0].parent
    settings = {
        "data.path": str(root), "data.batch_size": BATCH, "data.workers": workers, "data.cache": kind,
        "augment.size": SIZE, "augment.presize": PRESIZE, "augment.min_scale": MIN_SCALE,
    }  # fmt: skip
    train, valid = ([Sample(p.name, (p.name[0],), part) for p in files] for part in ("train", "valid"))
    data = Dataset(root, ("a", "b"), train=tuple(train), valid=tuple(valid[:0]))
    checks = survey.inspect(root, train)
    made = loaders.build(load_config(None, **settings), data, torch.device("cpu"), checks=checks)
    print(*(note for note in made.notes if "cache" in note), made.warning, sep="", flush=True)
    return made.dls.train


def measure(files: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    loaders = {kind: loader(files, kind, options.workers) for kind in KINDS}
    first = {kind: epoch(made) for kind, made in loaders.items()}
    rounds = [{kind: epoch(made) for kind, made in loaders.items()} for _ in range(options.repeats)]
    return {"images": len(files), "first": first, "rounds": rounds, "ratios": ratios(rounds)}


def ratios(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """How many times as many images a second, and how much less processor time, as without a cache; each round's."""
    return {
        kind: {
            "faster": [r[kind]["images_per_second"] / r["none"]["images_per_second"] for r in rounds],
            "less_work": [r["none"]["processor_ms"] / r[kind]["processor_ms"] for r in rounds],
        }
        for kind in KINDS[1:]
    }


def show(row: dict[str, Any]) -> None:
    print(f"{row['images']} JPEGs of 4000 x 3000 pixels")
    for kind in KINDS:
        rates, work = ([r[kind][key] for r in row["rounds"]] for key in ("images_per_second", "processor_ms"))
        first = row["first"][kind]["images_per_second"]
        print(
            f"  {kind}: {statistics.median(rates):6.1f} images/s (most {max(rates):.1f}; first epoch {first:.1f}), "
            f"{statistics.median(work):5.2f} ms of processor an image (least {min(work):.2f})"
        )
    for kind, found in row["ratios"].items():
        for name, values in found.items():
            shown = f"{statistics.median(values):.1f} (from {min(values):.1f} to {max(values):.1f})"
            print(f"  {kind}, {name.replace('_', ' ')}: {shown} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as folder:
        os.environ["IMGCLF_CACHE"] = str(Path(folder) / "cache")
        row = measure(make(Path(folder), options.images), options)
    show(row)
    if options.json:
        facts = {"options": vars(options), "machine": machine(), **row}
        options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
