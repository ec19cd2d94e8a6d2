"""Training epochs from JPEG files: imgclf beside plain fastai, beside a bare PyTorch loop, and frozen beside unfrozen.

    python scripts/bench_train.py fastai [--arch resnet18] [--photos FOLDER --weights FILE] [--images 256]
    python scripts/bench_train.py loop   [--arch resnet18] [--images 192]
    python scripts/bench_train.py frozen [--arch resnet18] [--images 192]

All in batches of 32 at 224 pixels, presized to 460, with two workers, in turns; beside fastai each in its own process.

`fastai`: the book's recipe, a frozen epoch (the turn that warms up) and then an unfrozen one each turn, by what the
book writes (`vision_learner`, `fit_one_cycle`) and by imgclf, in the best precision here and in fp32. Prints images a
second of the training batches, and of whole epochs with their validation, and the error after the last turn of each.
FOLDER holds train/ and val/ with class folders, FILE is a state dict as torchvision saves it; without them pictures are
made, weights are random, and the errors say nothing.

`loop`: `bare` repeats one batch that is in memory in a plain PyTorch loop with the same network, precision, memory
format and optimizer; `in memory` is imgclf's own loop, with all a run has (display, checkpoints, history, bundle), over
batches in memory; `imgclf` is the same from files. What a step costs beyond the bare one is the loop's, what an epoch
from files costs beyond that is the data's.

`frozen`: imgclf's step with the body frozen and `train.train_bn: false`, beside the step with all layers training.
"""

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching
from scripts.benching import Figures, processor

BATCH, SIZE, PRESIZE, WORKERS, VALID = 32, 224, 460, 2, 32
LR = 2e-3


def session(folder: Path, arch: str, precision: str, weights: Path | None, **more: Any) -> Any:
    """imgclf's learner on a folder, ready to fit the book's recipe."""
    from imgclf.config import load_config
    from imgclf.console import Terminal
    from imgclf.workflow import session

    settings = {
        "data.path": str(folder), "data.batch_size": BATCH, "data.workers": WORKERS, "augment.size": SIZE,
        "augment.presize": PRESIZE, "model.arch": arch, "train.epochs": 1, "train.precision": precision,
        "train.device": "cpu", "train.recipe": "book", "train.lr": LR, **more,
        **({"model.weights": str(weights)} if weights else {"model.pretrained": False}),
    }  # fmt: skip
    return session.start(load_config(None, **settings), Terminal(quiet=True))


def timer() -> Any:
    """A callback that times an epoch's training batches, and the epoch."""
    from fastai.vision.all import Callback

    class Timer(Callback):
        def before_epoch(self) -> None:
            self.epoch_started, self.n = time.perf_counter(), 0

        def before_train(self) -> None:
            self.started, self.busy = time.perf_counter(), processor()

        def after_batch(self) -> None:
            self.n += BATCH * self.training

        def after_train(self) -> None:
            self.rates = benching.rates(time.perf_counter() - self.started, processor() - self.busy, self.n)

        def after_epoch(self) -> None:
            self.rates["epoch_images_per_second"] = self.n / (time.perf_counter() - self.epoch_started)

    return Timer()


def epoch_of_imgclf(s: Any, number: int) -> Figures:
    """An epoch of a phase of the plan, by its number."""
    from imgclf.training.fit import run_phase
    from imgclf.training.seeding import SeedEpochs

    phase, timed = s.plan(LR).phases[number], timer()
    s.learn.freeze_to(phase.freeze_to)
    run_phase(s.learn, phase, [SeedEpochs(s.cfg, phase.name), timed])
    return {**timed.rates, "error": float(s.learn.recorder.values[-1][-1])}


def of_fastai(folder: Path, arch: str, weights: Path | None) -> Any:
    """What the book writes; its weights come from torchvision's cache, as always."""
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, error_rate, vision_learner
    from torchvision import models

    if weights:
        cache = folder.parent / "torch" / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        shutil.copy(weights, cache / models.get_model_weights(arch).DEFAULT.url.rsplit("/")[-1])
        os.environ["TORCH_HOME"] = str(folder.parent / "torch")
    dls = ImageDataLoaders.from_folder(
        folder, valid="val", bs=BATCH, num_workers=WORKERS, item_tfms=Resize(PRESIZE), device="cpu",
        batch_tfms=aug_transforms(size=SIZE, min_scale=0.75),
    )  # fmt: skip
    learn = vision_learner(dls, getattr(models, arch), metrics=error_rate, pretrained=bool(weights))
    learn.logger = lambda *_: None
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    return learn


def epoch_of_fastai(learn: Any, number: int) -> Figures:
    """The frozen epoch of ``fine_tune``, or an unfrozen one."""
    timed = timer()
    if number == 0:
        learn.freeze()
        learn.fit_one_cycle(1, slice(LR), pct_start=0.99, cbs=[timed])
    else:
        learn.unfreeze()
        learn.fit_one_cycle(1, slice(LR / 2 / 100, LR / 2), pct_start=0.3, div=5.0, cbs=[timed])
    return {**timed.rates, "error": float(learn.recorder.values[-1][-1])}


def beside_fastai(options: Any, folder: Path) -> dict[str, Any]:
    import torch

    from imgclf.training import quicker

    benching.photos(folder, {"train": options.images, "val": VALID * 2}, options.photos)
    known = (folder, options.arch)
    ways: dict[str, Callable[[], Figures]] = {}

    def add(name: str, fit: Callable[..., Figures], build: Callable[..., Any], *args: Any) -> None:
        numbers, apart = count(), benching.Apart(build, *args)
        ways[name] = lambda: apart(fit, min(next(numbers), 1))

    add("fastai", epoch_of_fastai, of_fastai, *known, options.weights)
    for precision in options.precisions:
        if precision == "auto":
            precision = quicker.best(torch.device("cpu"))[0]
        add(f"imgclf {precision}", epoch_of_imgclf, session, *known, precision, options.weights)
    rounds = benching.turns(ways, options.repeats, "epoch_images_per_second")
    benching.table(rounds, "images_per_second", "epoch_images_per_second", "processor_ms")
    n = VALID * 2
    for name in ways:
        print(f"{name}: error after the last epoch {rounds[-1][name]['error']:.3f} of {n} images")
    goals = []
    for name in [name for name in ways if name != "fastai"]:
        least = {"fp32": 1.5}.get(name.split()[-1], 3.0 if options.arch == "resnet50" else 2.5)
        for key, what in (("images_per_second", "training batches"), ("epoch_images_per_second", "whole epochs")):
            found = benching.ratios(rounds, key, name, "fastai")
            goals.append(benching.goal(f"{name} over fastai, {what}", found, at_least=least))
    return {"rounds": rounds, "goals": goals}


class InMemory:
    """The first batches of a loader, in its place."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.batches = loader, list(loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def bare(s: Any, batch: Any, steps: int) -> Figures:
    """The training step alone: network, loss, gradients, optimizer."""
    import torch

    x, y = (t.as_subclass(torch.Tensor) for t in batch)
    learn, bf16 = s.learn, s.hardware.precision == "bf16"
    if bf16:
        x = x.to(memory_format=torch.channels_last)
        learn.model.to(memory_format=torch.channels_last)
    learn.model.train()
    found: Figures = {}
    with benching.timed(found, steps * BATCH):
        for _ in range(steps):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = torch.nn.functional.cross_entropy(learn.model(x).float(), y)
            loss.backward()
            learn.opt.step()
            learn.opt.zero_grad()
    return found


def whole_run(s: Any, loader: Any, runs_dir: Path) -> Figures:
    """An epoch as `imgclf train` fits it, into a run folder that is thrown away."""
    from imgclf import runs
    from imgclf.config import dump
    from imgclf.workflow import fitting
    from imgclf.workflow.events import Events

    s.learn.dls.loaders[0] = loader
    run, timed = runs.create(runs_dir, "run", dump(s.cfg), {}), timer()
    started = time.perf_counter()
    with s.learn.added_cbs([timed]):
        fitting.fit(s, run, s.plan(LR), LR, None, Events())
    shutil.rmtree(run.path)
    return {**timed.rates, "with_saving": timed.n / (time.perf_counter() - started)}


def beside_bare(options: Any, folder: Path) -> dict[str, Any]:
    benching.photos(folder, {"train": options.images, "val": VALID}, options.photos)
    more = {"train.recipe": "auto", "train.schedule": "one_cycle"}
    s = session(folder, options.arch, options.precisions[0], options.weights, **more)
    files = s.learn.dls.train
    memory = InMemory(files)
    s.learn.unfreeze()
    s.learn.create_opt()
    rounds = benching.turns(
        {
            "bare": lambda: bare(s, memory.batches[0], len(memory)),
            "in memory": lambda: whole_run(s, memory, folder.parent / "runs"),
            "imgclf": lambda: whole_run(s, files, folder.parent / "runs"),
        },
        options.repeats,
        "images_per_second",
    )
    print(f"precision {s.hardware.precision}")
    benching.table(rounds, "images_per_second", "processor_ms", "epoch_images_per_second", "with_saving")
    goals = []
    for key, what in (("images_per_second", "speed"), ("processor_ms", "processor time")):
        loop, epoch = (
            benching.ratios(rounds, key, "in memory", "bare"),
            benching.ratios(rounds, key, "imgclf", "bare"),
        )
        if key == "processor_ms":  # less is better
            loop, epoch = [1 / v for v in loop], [1 / v for v in epoch]
        goals.append(benching.goal(f"imgclf's loop in memory as a share of the bare one, {what}", loop, at_least=0.95))
        goals.append(benching.goal(f"an epoch from files as a share of the bare loop, {what}", epoch, at_least=0.85))
    return {"rounds": rounds, "goals": goals}


def frozen(options: Any, folder: Path) -> dict[str, Any]:
    benching.photos(folder, {"train": options.images, "val": VALID}, options.photos)
    s = session(folder, options.arch, options.precisions[0], options.weights, **{"train.train_bn": False})
    s.learn.dls.loaders[0] = InMemory(s.learn.dls.train)
    ways = {"frozen": lambda: epoch_of_imgclf(s, 0), "unfrozen": lambda: epoch_of_imgclf(s, 1)}
    rounds = benching.turns(ways, options.repeats, "images_per_second")
    benching.table(rounds, "images_per_second", "processor_ms")
    found = benching.ratios(rounds, "images_per_second", "frozen", "unfrozen")
    return {"rounds": rounds, "goals": [benching.goal("the frozen step over the unfrozen one", found, at_least=2)]}


PARTS = {"fastai": (beside_fastai, 256), "loop": (beside_bare, 192), "frozen": (frozen, 192)}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--precisions", nargs="+", default=["auto", "fp32"], help="the first counts where one does")
    parser.add_argument("--images", type=int, help="of a training epoch; all are used in whole batches")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    measure, images = PARTS[options.part]
    options.images = options.images or images
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        benching.write(options, **measure(options, Path(folder) / "photos"))


if __name__ == "__main__":
    main()
