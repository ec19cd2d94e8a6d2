"""Images a second from 12-megapixel JPEGs to training batches: an epoch without a cache beside later epochs with one.

    python scripts/bench_cache.py [--workers 2] [--repeats 5] [--images 256] [--json FILE]

The pictures are those of `bench_data.py large`, sixteen of them, in as many files of their own content as an epoch has
images. Three pipelines read them in turns (presize 460, size 224, batches of 32, the same workers): `data.cache: none`,
`ram` and `disk`, the last in a temporary folder. The first epoch of each fills its cache and is told apart. Nothing is
trained. Prints median, least and most of the later epochs, start of the workers included, the milliseconds of processor
time an image takes in all processes together, and the ratios to `none` within each turn.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import bench_data, benching
from scripts.bench_data import BATCH, MIN_SCALE, PRESIZE, SIZE, epoch
from scripts.benching import Figures

GOAL = 3
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
    print(*(note for note in made.notes if "data.cache" in note), made.warning, flush=True)
    return made.dls.train


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    n = options.images // BATCH * BATCH
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as folder:
        os.environ["IMGCLF_CACHE"] = str(Path(folder) / "cache")
        files = make(Path(folder), n)
        ways: dict[str, Callable[[], Figures]] = {
            kind: lambda made=loader(files, kind, options.workers): epoch(made, n)  # type: ignore[misc]
            for kind in KINDS
        }
        first = {kind: way() for kind, way in ways.items()}
        rounds = benching.turns(ways, options.repeats, "images_per_second", warm_up=0)
    print(f"{n} JPEGs of 4000 x 3000 pixels an epoch")
    benching.table([first], "images_per_second", "processor_ms")
    print("later epochs")
    benching.table(rounds, "images_per_second", "processor_ms")
    goals = [
        benching.goal(f"{what}, {kind} over none", found, GOAL)
        for kind in KINDS[1:]
        for what, found in (
            ("images a second", benching.ratios(rounds, "images_per_second", kind, "none")),
            ("processor time saved", benching.ratios(rounds, "processor_ms", "none", kind)),
        )
    ]
    benching.write(options, images=n, first=first, rounds=rounds, goals=goals)


if __name__ == "__main__":
    main()
