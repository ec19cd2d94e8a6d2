"""Images a second from JPEG files to normalised training batches: imgclf beside fastai's own DataBlock.

    python scripts/bench_data.py [--workers 2] [--repeats 5] [--cases small large] [--photos FOLDER] [--json FILE]

Two cases: JPEGs of 500 x 375 pixels, and of 12 megapixels (4000 x 3000). They are made in a temporary folder, from
coarse and fine structure and grain, or from the photographs of FOLDER scaled to those sizes. Both pipelines read the
same files with the same settings (presize 460, size 224, batches of 32, the same workers) in turns: a machine that
slows down slows both. Nothing is trained; batches are made and thrown away. Prints the median of the repeats and the
quickest of them, the milliseconds of processor time an image takes in all processes together (which other programs on
the machine change least), and the ratios between the two pipelines within each repeat.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LAYERS = ((3, 0.5), (7, 0.3), (20, 0.2))  # cells a side, and share
# Pixels, grain (so that a file has about the bytes a photograph of that size has), files, and images of an epoch: the
# files are read several times over.
CASES = {"small": ((500, 375), 14, 64, 384), "large": ((4000, 3000), 6, 12, 64)}
BATCH, SIZE, PRESIZE, MIN_SCALE = 32, 224, 460, 0.75
SUFFIXES = (".jpg", ".jpeg", ".png")


def picture(seed: int, size: tuple[int, int], grain: int) -> Image.Image:
    random = np.random.default_rng(seed)
    made = random.uniform(-grain, grain, (size[1], size[0], 3))
    for cells, share in LAYERS:
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        made += share * np.asarray(layer.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(made.clip(0, 255).astype(np.uint8))


def make(folder: Path, case: str, photos: Path | None) -> list[Path]:
    """The files of a case, an entry for each image of an epoch."""
    size, grain, n, images = CASES[case]
    folder.mkdir()
    known = sorted(p for p in photos.rglob("*") if p.suffix.lower() in SUFFIXES) if photos else []
    for i in range(n):
        if known:
            made = Image.open(known[i % len(known)]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        else:
            made = picture(i, size, grain)
        made.save(folder / f"{'ab'[i % 2]}_{i}.jpg", quality=90)
    files = sorted(folder.iterdir())
    return [files[i % n] for i in range(images)]


def of_fastai(files: list[Path], workers: int) -> Any:
    """What the book writes: ``Resize``, then ``aug_transforms``."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        Resize,
        aug_transforms,
        imagenet_stats,
    )

    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_y=lambda path: path.name[0], splitter=IndexSplitter([0]),
        item_tfms=Resize(PRESIZE),
        batch_tfms=[*aug_transforms(size=SIZE, min_scale=MIN_SCALE), Normalize.from_stats(*imagenet_stats, cuda=False)],
    )  # fmt: skip
    return block.dataloaders([files[0], *files], bs=BATCH, num_workers=workers, device="cpu").train


def of_imgclf(files: list[Path], workers: int) -> Any:
    import torch

    from imgclf.config import load_config
    from imgclf.data import loaders
    from imgclf.data.samples import Sample
    from imgclf.data.split import Dataset

    root = files[0].parent
    augment = {"augment.size": SIZE, "augment.presize": PRESIZE, "augment.min_scale": MIN_SCALE}
    cfg = load_config(None, **{"data.path": str(root), "data.batch_size": BATCH, "data.workers": workers, **augment})
    parts = {part: [Sample(p.name, (p.name[0],), part) for p in files] for part in ("train", "valid")}
    data = Dataset(root, ("a", "b"), train=tuple(parts["train"]), valid=tuple(parts["valid"][:1]))
    return loaders.build(cfg, data, torch.device("cpu")).dls.train


PIPELINES: dict[str, Callable[[list[Path], int], Any]] = {"fastai": of_fastai, "imgclf": of_imgclf}


def epoch(loader: Any) -> dict[str, float]:
    """One epoch, the start of the workers included."""
    started, busy, n = time.perf_counter(), processor(), 0
    for x, _ in loader:
        assert tuple(x.shape[1:]) == (3, SIZE, SIZE)
        n += len(x)
    seconds, busy = time.perf_counter() - started, processor() - busy
    return {"images_per_second": n / seconds, "processor_ms": 1000 * busy / n}


def processor() -> float:
    """Seconds that processors have worked for this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(case: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    files = make(folder / case, case, options.photos)
    loaders = {name: build(files, options.workers) for name, build in PIPELINES.items()}
    rounds = [{name: epoch(loader) for name, loader in loaders.items()} for _ in range(options.repeats + 1)]
    return {
        "case": case, "pixels": CASES[case][0], "images": len(files),
        "kilobytes": round(statistics.mean(p.stat().st_size for p in files) / 1000),
        "rounds": rounds[1:],  # the first warms up
        "faster": [r["imgclf"]["images_per_second"] / r["fastai"]["images_per_second"] for r in rounds[1:]],
        "less_work": [r["fastai"]["processor_ms"] / r["imgclf"]["processor_ms"] for r in rounds[1:]],
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(f"{row['pixels'][0]} x {row['pixels'][1]} pixels, {row['kilobytes']} KB a file, {row['images']} images")
    for name in PIPELINES:
        rates, work = ([r[name][key] for r in row["rounds"]] for key in ("images_per_second", "processor_ms"))
        print(
            f"  {name}: {statistics.median(rates):6.1f} images/s (most {max(rates):.1f}), "
            f"{statistics.median(work):6.1f} ms of processor an image (least {min(work):.1f})"
        )
    for name in ("faster", "less_work"):
        shown = f"{statistics.median(row[name]):.1f} (from {min(row[name]):.1f} to {max(row[name]):.1f})"
        print(f"  {name.replace('_', ' ')}: {shown} times", flush=True)


def machine() -> dict[str, Any]:
    import fastai
    import PIL
    import torch

    return {
        "date": date.today().isoformat(), "cpus": os.cpu_count(), "machine": platform.machine(),
        "processor": next(
            (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
            platform.processor(),
        ),
        "python": platform.python_version(), "torch": torch.__version__, "fastai": fastai.__version__,
        "pillow": PIL.__version__,
    }  # fmt: skip


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
            rows.append(measure(case, options, Path(folder)))
        show(rows[-1])
    if options.json:
        facts = {"options": vars(options), "machine": machine(), "rows": rows}
        options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
