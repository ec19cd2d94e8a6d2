"""Start-up: `imgclf --help`, and from the start of `imgclf train` to its first batch beside a plain fastai script.

    python scripts/bench_startup.py [--repeats 5] [--json FILE]

Each is a process of its own, in turns. The fastai script imports `fastai.vision.all`, makes `ImageDataLoaders` and a
learner, and trains a batch; imgclf reads its configuration, makes the run folder, checks and splits the images, plans,
and writes the first checkpoint before it does. Both end with that batch: 16 images at 64 pixels, ResNet-18 from random
weights, two workers. `python -c pass` is what any Python program takes.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching

BATCH, SIZE, PRESIZE, WORKERS = 16, 64, 96, 2
SETTINGS = [
    *("-a", "resnet18", "-b", str(BATCH), "--size", str(SIZE), "--presize", str(PRESIZE), "--lr", "1e-3", "-e", "1"),
    *("--set", "model.pretrained=false", "--set", f"data.workers={WORKERS}", "--set", "train.recipe=book"),
    *("--set", "train.device=cpu", "--set", "train.precision=fp32", "-q"),
]


def end(*_: object) -> None:
    """A batch is trained: end the process as it stands, and those that read images, which hold its output open."""
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(0)


def imgclf(folder: str, runs: str) -> None:
    from imgclf.cli.app import main
    from imgclf.training.watch import Watch

    Watch.after_batch = end  # type: ignore[method-assign, assignment]
    main(["train", "-d", folder, "--runs-dir", runs, *SETTINGS])


def fastai(folder: str, _: str) -> None:
    from fastai.vision.all import (
        Callback,
        ImageDataLoaders,
        Resize,
        aug_transforms,
        error_rate,
        resnet18,
        vision_learner,
    )

    dls = ImageDataLoaders.from_folder(
        folder, valid="val", bs=BATCH, num_workers=WORKERS, item_tfms=Resize(PRESIZE), device="cpu",
        batch_tfms=aug_transforms(size=SIZE, min_scale=0.75),
    )  # fmt: skip
    learn = vision_learner(dls, resnet18, metrics=error_rate, pretrained=False)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, cbs=[type("End", (Callback,), {"after_batch": end})()])


CHILDREN = {"imgclf": imgclf, "fastai": fastai}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("--child", nargs=3, help="for this script's own use")
    options = parser.parse_args()
    if options.child:
        name, folder, runs = options.child
        CHILDREN[name](folder, runs)
        raise SystemExit("no batch was trained")
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as name:
        folder = benching.photos(Path(name) / "photos", {"train": 64, "val": 16}, None)
        env = {"IMGCLF_CACHE": str(Path(name) / "cache"), "PYTHONWARNINGS": "ignore"}
        commands: dict[str, list[Any]] = {
            "python -c pass": ["-c", "pass"],
            "imgclf --help": ["-m", "imgclf", "--help"],
            "fastai, first batch": [__file__, "--child", "fastai", folder, Path(name) / "runs"],
            "imgclf train, first batch": [__file__, "--child", "imgclf", folder, Path(name) / "runs"],
        }
        ways = {what: lambda rest=rest: benching.run([sys.executable, *rest], env) for what, rest in commands.items()}
        rounds = benching.turns(ways, options.repeats, "seconds")
    benching.table(rounds, "seconds", "processor_s")
    goals = []
    for key in ("seconds", "processor_s"):
        goals.append(
            benching.goal(f"imgclf --help, {key}", benching.values(rounds, "imgclf --help", key), at_most=0.25)
        )
        found = benching.ratios(rounds, key, "imgclf train, first batch", "fastai, first batch")
        goals.append(benching.goal(f"train to the first batch over fastai's, {key}", found, at_most=1.3))
    benching.write(options, rounds=rounds, goals=goals)


if __name__ == "__main__":
    main()
