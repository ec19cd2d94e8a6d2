"""On a GPU: from JPEG files beside the same step on data already there, beside plain fastai, and the card's own limits.

    python scripts/bench_gpu.py feed   [--arch resnet18] [--images 16384] [--photos FOLDER] [--compile]
    python scripts/bench_gpu.py peak   [--arch resnet50] [--batch 256]
    python scripts/bench_gpu.py decode [--photos FOLDER]

`feed`: all layers from random weights, batches of 64 at 224 pixels, presized to 460, with as many workers as imgclf
takes. `bare` repeats one batch that is there in a plain PyTorch loop with the same network, precision, memory format
and fused Adam; `in memory` is imgclf's loop over such batches; `imgclf` reads the files; `cached` keeps the decoded
images in memory (`data.cache: ram`), `workers` has the workers augment (`augment.where`). `fastai` is what the book
writes, over a quarter of the images. Images a second of the training part of an epoch, from the start of the workers
until the card is done.

`peak`: a product of matrices in bf16, and a training step of the bare loop as a share of its rate: the floating-point
operations of convolutions and linear layers, forward and, twice as many, backward.

`decode`: nvJPEG, through torchvision, beside Pillow in one process.
"""

import gc
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching
from scripts.benching import Figures

BATCH, SIZE, PRESIZE, VALID = 64, 224, 460, 64
SHARE = 4  # plain fastai reads so many times fewer images
LR = 1e-4


def session(folder: Path, arch: str, data: Any = None, **more: Any) -> Any:
    """imgclf's learner on a folder, ready to train all layers.

    Args:
        data: What another session has found out about the folder.
    """
    from imgclf.config import load_config
    from imgclf.console import Terminal
    from imgclf.workflow import session

    settings = {
        "data.path": str(folder), "data.batch_size": BATCH, "augment.size": SIZE, "augment.presize": PRESIZE,
        "model.arch": arch, "model.pretrained": False, "train.epochs": 1, "train.device": "cuda", "train.lr": LR,
        **more,
    }  # fmt: skip
    return session.start(load_config(None, **settings), Terminal(quiet=True), data)


def timed(learn: Any, fit: Callable[[list[Any]], object]) -> Figures:
    """Images a second of the training part of what ``fit`` fits with a callback."""
    import torch
    from fastai.vision.all import Callback, CancelValidException

    class Timer(Callback):
        order = 200

        def before_train(self) -> None:
            torch.cuda.synchronize()
            self.n, self.started = 0, time.perf_counter()

        def after_batch(self) -> None:
            self.n += len(self.yb[0])

        def after_train(self) -> None:
            torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.started

        def before_validate(self) -> None:
            raise CancelValidException

    timer = Timer()
    torch.cuda.reset_peak_memory_stats()
    fit([timer])
    gigabytes = torch.cuda.max_memory_allocated() / 1e9
    return {"images_per_second": timer.n / timer.seconds, "seconds": timer.seconds, "gigabytes": gigabytes}


def epoch_of_imgclf(s: Any) -> Figures:
    from imgclf.training.fit import run_phase
    from imgclf.training.seeding import SeedEpochs

    (phase,) = s.plan(LR).phases
    return timed(s.learn, lambda cbs: run_phase(s.learn, phase, [SeedEpochs(s.cfg, phase.name), *cbs]))


class Repeated:
    """A batch of a loader, again and again, in its place."""

    def __init__(self, loader: Any, n: int) -> None:
        self.loader, self.n = loader, n
        loader.place(0)
        self.batch = next(iter(loader))

    def __iter__(self) -> Any:
        return itertools.repeat(self.batch, self.n)

    def __len__(self) -> int:
        return self.n

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def bare_step(net: Any, x: Any, y: Any) -> Callable[[], None]:
    """A training step of plain PyTorch in bf16 and channels_last."""
    import torch

    x = x.to(memory_format=torch.channels_last)
    net = net.cuda().to(memory_format=torch.channels_last).train()
    opt = torch.optim.AdamW(net.parameters(), LR, fused=True)

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(net(x).float(), y)
        loss.backward()
        opt.step()
        opt.zero_grad()

    return step


def bare(step: Callable[[], None], n: int, batch: int = BATCH) -> Figures:
    import torch

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(n):
        step()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {"images_per_second": n * batch / seconds, "seconds": seconds}


def forking(way: Callable[[], Figures]) -> Figures:
    """With processes of fastai's own, which would die of freeing what the other ways have on the card."""
    gc.collect()
    gc.freeze()
    try:
        return way()
    finally:
        gc.unfreeze()


def of_fastai(folder: Path, arch: str) -> Any:
    """What the book writes."""
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, error_rate, vision_learner
    from torchvision import models

    dls = ImageDataLoaders.from_folder(
        folder, valid="val", bs=BATCH, item_tfms=Resize(PRESIZE), batch_tfms=aug_transforms(size=SIZE, min_scale=0.75)
    )
    learn = vision_learner(dls, getattr(models, arch), metrics=error_rate, pretrained=False)
    learn.logger = lambda *_: None
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.unfreeze()
    return learn


def feed(options: Any, folder: Path) -> dict[str, Any]:
    import torch

    n = options.images // BATCH
    photos = benching.photos(folder / "photos", {"train": options.images, "val": VALID}, options.photos)
    few = benching.photos(folder / "few", {"train": options.images // SHARE, "val": VALID}, options.photos)
    more = {"train.compile": options.compile, "train.schedule": "one_cycle"}
    plain = session(photos, options.arch, **more)
    memory = session(photos, options.arch, plain.data, **more)
    memory.learn.dls.loaders[0] = Repeated(memory.learn.dls.train, n)
    settings: dict[str, dict[str, Any]] = {
        "cached": {"data.cache": "ram", "data.cache_gb": 40},
        "workers": {"augment.where": "workers"},
    }
    others = {
        name: session(photos, options.arch, plain.data, **more, **settings[name])
        for name in options.ways if name in settings
    }  # fmt: skip
    x, y = (part.as_subclass(torch.Tensor) for part in memory.learn.dls.train.batch)
    print(f"{plain.loaders.workers} workers, {plain.hardware.precision} ({plain.hardware.reason})", flush=True)
    step = bare_step(session(photos, options.arch, plain.data).learn.model, x, y)
    theirs = of_fastai(few, options.arch)
    ways: dict[str, Callable[[], Figures]] = {
        "bare": lambda: bare(step, n),
        "in memory": lambda: epoch_of_imgclf(memory),
        "imgclf": lambda: epoch_of_imgclf(plain),
        **{name: lambda s=s: epoch_of_imgclf(s) for name, s in others.items()},  # type: ignore[misc]
    }
    if "fastai" in options.ways:
        ways["fastai"] = lambda: forking(lambda: timed(theirs, lambda cbs: theirs.fit(1, LR, cbs=cbs)))
    rounds = benching.turns(ways, options.repeats, "images_per_second")
    benching.table(rounds, "images_per_second")
    goals = []
    for name, other, least in (("in memory", "bare", 0.95), ("imgclf", "in memory", 0.9), ("imgclf", "fastai", 3.0)):
        if other in ways:
            found = benching.ratios(rounds, "images_per_second", name, other)
            goals.append(benching.goal(f"{options.arch}: {name} over {other}", found, at_least=least))
    return {"rounds": rounds, "goals": goals}


def operations(net: Any, size: int) -> int:
    """Floating-point operations of a training step on one image: convolutions and linear layers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.rand(1, 3, size, size, device=next(net.parameters()).device)
    counter = FlopCounterMode(display=False)
    with counter:
        net(x).sum().backward()
    return int(counter.get_total_flops())


def peak(options: Any, folder: Path) -> dict[str, Any]:
    import torch

    from imgclf.networks import bodies

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def product() -> Figures:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(20):
            torch.mm(a, b)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        return {"teraflops": 20 * 2 * 8192**3 / seconds / 1e12, "seconds": seconds}

    net = bodies.BUILDERS[options.arch]().cuda().eval()
    each = operations(net, SIZE)
    x, y = torch.rand(options.batch, 3, SIZE, SIZE, device="cuda"), torch.arange(options.batch, device="cuda") % 1000
    ways: dict[str, Callable[[], Figures]] = {"product": product}
    for name, compiled in (("step", False), ("compiled step", True)):
        if compiled and not options.compile:
            continue
        net = bodies.BUILDERS[options.arch]()
        if compiled:
            net.compile()
        step = bare_step(net, x, y)

        def way(step: Callable[[], None] = step) -> Figures:
            found = bare(step, 20, options.batch)
            return {**found, "teraflops": found["images_per_second"] * each / 1e12}

        ways[name] = way
    rounds = benching.turns(ways, options.repeats, "teraflops")
    benching.table(rounds, "teraflops")
    print(f"{options.arch}: {each / 1e9:.1f} billion operations an image")
    for name in list(ways)[1:]:
        share = benching.spread(benching.ratios(rounds, "teraflops", name, "product"))
        print(f"{options.arch}, {name}: {share} of the product's rate")
    return {"rounds": rounds, "operations": each}


def decode(options: Any, folder: Path) -> dict[str, Any]:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    from imgclf.data.images import decode as pillow

    benching.photos(folder, {"train": 512}, options.photos)
    files = sorted(folder.rglob("*.jpg"))
    read = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files]

    def nvjpeg() -> None:
        for i in range(0, len(read), BATCH):
            decode_jpeg(read[i : i + BATCH], mode=ImageReadMode.RGB, device="cuda")
        torch.cuda.synchronize()

    def by(work: Callable[[], object]) -> Callable[[], Figures]:
        def measure() -> Figures:
            found: Figures = {}
            with benching.timed(found, len(files)):
                work()
            return found

        return measure

    ways = {"Pillow, one process": by(lambda: [pillow(file).size for file in files]), "nvJPEG": by(nvjpeg)}
    rounds = benching.turns(ways, options.repeats, "images_per_second")
    benching.table(rounds, "images_per_second", "processor_ms")
    return {"rounds": rounds}


PARTS = {"feed": feed, "peak": peak, "decode": decode}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--images", type=int, default=16384, help="feed: of a training epoch")
    parser.add_argument("--batch", type=int, default=256, help="peak: images a step")
    parser.add_argument(
        "--ways", nargs="*", default=["cached", "workers", "fastai"], help="feed: which beside imgclf's"
    )
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--compile", action="store_true", help="feed, peak: torch.compile the network too")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        benching.write(options, **PARTS[options.part](options, Path(folder)))


if __name__ == "__main__":
    main()
