"""A training epoch from JPEG files: imgclf beside a bare loop on data in memory, and beside plain fastai.

    python scripts/bench_train.py [--arch resnet18] [--precision auto] [--repeats 5] [--images 320] [--json FILE]

Three ways of training the same network from random weights, all layers, in batches of 32 at 224 pixels, in turns:
`bare` repeats one batch that is in memory in a plain PyTorch loop with the same network, precision, memory format and
optimizer as imgclf; `imgclf` is an epoch of its own loop over JPEGs of 500 x 375 pixels with two workers; `fastai` is
`vision_learner` and `fit_one_cycle` over the same files, as the book writes it. Images a second count the training
batches alone. Prints the median and the quickest of the repeats, the milliseconds of processor time an image takes in
all processes together (with OMP_NUM_THREADS=1, as waiting threads count as work), and the median of the ratios within
each repeat.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import bench_data
from scripts.bench_data import BATCH, PRESIZE, SIZE, machine, processor

BARE_STEPS = 5
LR = 1e-3


def session(files: list[Path], arch: str, precision: str, workers: int) -> Any:
    """imgclf's learner on the files, ready to fit."""
    from imgclf.config import load_config
    from imgclf.console import Terminal
    from imgclf.workflow import session

    settings = {
        "data.path": str(files[0].parent), "data.batch_size": BATCH, "data.workers": workers, "data.labels": "regex",
        "data.pattern": "^([ab])_", "data.valid_pct": 0.05, "augment.size": SIZE, "augment.presize": PRESIZE,
        "model.arch": arch, "model.pretrained": False, "train.epochs": 1, "train.precision": precision,
        "train.device": "cpu",
    }  # fmt: skip
    return session.start(load_config(None, **settings), Terminal(quiet=True))


Rates = dict[str, float]


def rates(started: float, busy: float, n: int) -> Rates:
    """What ``n`` images since then took."""
    seconds, work = time.perf_counter() - started, processor() - busy
    return {"images_per_second": n / seconds, "processor_ms": 1000 * work / n}


def bare(s: Any) -> Rates:
    """The training step alone."""
    import torch

    x, y = (t.as_subclass(torch.Tensor) for t in s.loaders.dls.train.one_batch())
    bf16, learn = s.hardware.precision == "bf16", s.learn
    if bf16:
        x = x.to(memory_format=torch.channels_last)
        learn.model.to(memory_format=torch.channels_last)
    learn.create_opt()
    learn.model.train()
    started = busy = 0.0
    for step in range(BARE_STEPS + 1):
        if step == 1:  # the first warms up
            started, busy = time.perf_counter(), processor()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(learn.model(x).float(), y)
        loss.backward()
        learn.opt.step()
        learn.opt.zero_grad()
    return rates(started, busy, BARE_STEPS * BATCH)


def timer() -> Any:
    """A callback that times an epoch's training batches."""
    from fastai.vision.all import Callback

    class Timer(Callback):
        def before_train(self) -> None:
            self.started, self.busy, self.n = time.perf_counter(), processor(), 0

        def after_batch(self) -> None:
            self.n += BATCH * self.training

        def after_train(self) -> None:
            self.rates = rates(self.started, self.busy, self.n)

    return Timer()


def of_imgclf(s: Any) -> Rates:
    from imgclf.training.fit import run_phase
    from imgclf.training.seeding import SeedEpochs

    [phase], timed = s.plan(LR).phases, timer()
    run_phase(s.learn, phase, [SeedEpochs(s.cfg, phase.name), timed])
    return dict(timed.rates)


def of_fastai(files: list[Path], arch: str, workers: int) -> Any:
    from fastai.vision.all import DataLoaders, vision_learner
    from torchvision import models

    train = bench_data.of_fastai(files, workers)
    dls = DataLoaders(train, train.new([files[0]]))
    learn = vision_learner(dls, getattr(models, arch), pretrained=False, normalize=False, n_out=2)
    learn.logger = lambda *_: None
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    return learn


def fit_fastai(learn: Any) -> Rates:
    timed = timer()
    learn.fit_one_cycle(1, LR, cbs=[timed])
    return dict(timed.rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--without-fastai", action="store_true", help="leave out the slowest of the three")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    bench_data.CASES["small"] = (*bench_data.CASES["small"][:2], options.images, options.images)
    rounds: list[dict[str, Rates]] = []
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        files = bench_data.make(Path(folder) / "small", "small", None)
        s = session(files, options.arch, options.precision, options.workers)
        theirs = None if options.without_fastai else of_fastai(files, options.arch, options.workers)
        for _ in range(options.repeats):
            row = {"bare": bare(s), "imgclf": of_imgclf(s)}
            rounds.append({**row, **({"fastai": fit_fastai(theirs)} if theirs else {})})
            print(", ".join(f"{name} {r['images_per_second']:.1f}" for name, r in rounds[-1].items()), flush=True)
    for name in rounds[0]:
        rate, work = ([r[name][key] for r in rounds] for key in ("images_per_second", "processor_ms"))
        times = statistics.median(r["imgclf"]["images_per_second"] / r[name]["images_per_second"] for r in rounds)
        less = statistics.median(r[name]["processor_ms"] / r["imgclf"]["processor_ms"] for r in rounds)
        print(
            f"{name:7} {statistics.median(rate):6.1f} images/s (most {max(rate):.1f}), "
            f"{statistics.median(work):6.1f} ms of processor an image; "
            f"imgclf is {times:.2f} times as fast, {less:.2f} by processor time"
        )
    if options.json:
        facts = {"options": vars(options), "machine": machine(), "precision": s.hardware.precision, "rounds": rounds}
        options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
