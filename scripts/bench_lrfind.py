"""The learning-rate finder: imgclf's beside fastai's `lr_find`, on the same data with the same network and weights.

    python scripts/bench_lrfind.py [--size 128] [--presize 262] [--batch-size 8] [--precision auto] [--json FILE]
    python scripts/bench_lrfind.py --steady DATA… --weights FILE --size 96 --batch-size 16 [--json FILE]

Both sweep from 1e-7 to 10, fastai in 100 steps and imgclf in 50, with the body frozen, two workers, from JPEGs of
500 x 375 pixels, and end early where the loss explodes. Seconds are those of the whole search: the sweep, what is
saved before and put back after, and the suggestion. Both sides are smaller than the usual 224 and 460 pixels, in their
ratio, so that five turns take minutes.

`--steady`: what imgclf suggests for DATA in 100 steps and in 50, with five seeds: other batches, another head, another
split where DATA has none.
"""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import bench_train, benching
from scripts.benching import Figures

IMAGES, VALID, STEPS = 160, 40, 100


def of_imgclf(s: Any, batch_size: int) -> Figures:
    found: Figures = {}
    with benching.timed(found, STEPS * batch_size):
        result = s.find_lr()
    return {**found, "steps": len(result.lrs), "chosen": result.chosen}


def of_fastai(learn: Any, batch_size: int) -> Figures:
    from fastai.callback.schedule import valley

    found: Figures = {}
    with benching.timed(found, STEPS * batch_size), learn.no_bar(), learn.no_logging():
        chosen = learn.lr_find(suggest_funcs=(valley,), show_plot=False).valley
    return {**found, "steps": len(learn.recorder.lrs), "chosen": chosen}


def steady(options: Any) -> list[dict[str, Any]]:
    from imgclf.training import lr

    found = []
    for data in options.steady:
        for steps in (STEPS, lr.STEPS):
            lr.STEPS = steps
            for seed in range(1, 6):
                s = bench_train.session(
                    data, options.arch, "fp32", options.weights, **{"seed": seed, "train.lr": "auto"}
                )
                result = s.find_lr()
                found.append(
                    {"data": data, "steps": steps, "seed": seed, "taken": len(result.lrs), "lr": result.chosen}
                )
                print(*found[-1].values(), flush=True)
    return found


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--presize", type=int, default=262)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--steady", nargs="+", metavar="DATA")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    bench_train.BATCH, bench_train.SIZE, bench_train.PRESIZE = options.batch_size, options.size, options.presize
    if options.steady:
        benching.write(options, found=steady(options))
        return
    with tempfile.TemporaryDirectory(prefix="bench-lrfind-") as name:
        folder = benching.photos(Path(name) / "photos", {"train": IMAGES, "val": VALID}, options.photos)
        more = {"train.freeze_epochs": 1}  # so that it is frozen without weights too
        ours = bench_train.session(folder, options.arch, options.precision, options.weights, **more)
        theirs = bench_train.of_fastai(folder, options.arch, options.weights)
        theirs.freeze()
        theirs.path = Path(name)  # where it writes the weights it puts back
        ways = {
            "fastai": lambda: of_fastai(theirs, options.batch_size),
            "imgclf": lambda: of_imgclf(ours, options.batch_size),
        }
        rounds = benching.turns(ways, options.repeats, "seconds")
    print(f"imgclf in {ours.hardware.precision}")
    benching.table(rounds, "seconds", "processor_ms", "steps", "chosen")
    goals = [
        benching.goal(f"{what} of imgclf's search as a share of fastai's", found, at_most=0.5)
        for what, found in (
            ("seconds", benching.ratios(rounds, "seconds", "imgclf", "fastai")),
            ("processor time", benching.ratios(rounds, "processor_ms", "imgclf", "fastai")),
        )
    ]
    benching.write(options, precision=ours.hardware.precision, rounds=rounds, goals=goals)


if __name__ == "__main__":
    main()
