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
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching
from scripts.benching import SUFFIXES, Figures

# Pixels, grain (so that a file has about the bytes a photograph of that size has), files, and images of an epoch: the
# files are read several times over.
CASES = {"small": ((500, 375), benching.GRAIN, 64, 384), "large": ((4000, 3000), 6, 16, 192)}
GOALS = {"small": 5, "large": 7}
BATCH, SIZE, PRESIZE, MIN_SCALE = 32, 224, 460, 0.75


def make(folder: Path, case: str, photos: Path | None) -> list[Path]:
    """The files of a case, an entry for each image of an epoch."""
    size, grain, n, images = CASES[case]
    folder.mkdir()
    known = sorted(p for p in photos.rglob("*") if p.suffix.lower() in SUFFIXES) if photos else []
    for i in range(n):
        if known:
            made = Image.open(known[i % len(known)]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        else:
            made = benching.picture(i, size, grain)
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


def epoch(loader: Any, n: int) -> Figures:
    """One epoch, the start of the workers included."""
    found: Figures = {}
    with benching.timed(found, n):
        for x, _ in loader:
            assert tuple(x.shape[1:]) == (3, SIZE, SIZE)
    return found


def measure(case: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    files = make(folder / case, case, options.photos)
    n = len(files) // BATCH * BATCH
    loaders = {name: build(files, options.workers) for name, build in PIPELINES.items()}
    ways: dict[str, Callable[[], Figures]] = {
        name: lambda loader=loader: epoch(loader, n)  # type: ignore[misc]
        for name, loader in loaders.items()
    }
    rounds = benching.turns(ways, options.repeats, "images_per_second")
    width, height = CASES[case][0]
    kilobytes = round(statistics.mean(p.stat().st_size for p in files) / 1000)
    print(f"{width} x {height} pixels, {kilobytes} KB a file, {len(files)} images an epoch")
    benching.table(rounds, "images_per_second", "processor_ms")
    least = GOALS[case]
    goals = [
        benching.goal(
            "images a second, imgclf over fastai",
            benching.ratios(rounds, "images_per_second", "imgclf", "fastai"),
            least,
        ),
        benching.goal(
            "processor time, fastai over imgclf", benching.ratios(rounds, "processor_ms", "fastai", "imgclf"), least
        ),
    ]
    return {"case": case, "pixels": [width, height], "kilobytes": kilobytes, "rounds": rounds, "goals": goals}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
            rows.append(measure(case, options, Path(folder)))
    benching.write(options, rows=rows)


if __name__ == "__main__":
    main()
