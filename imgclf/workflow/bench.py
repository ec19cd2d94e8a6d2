"""How fast the user's own data and machine are, where the time of a training step goes, and what to change."""

import math
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

from imgclf.console import Terminal
from imgclf.cores import cores
from imgclf.errors import ConfigError
from imgclf.schema import Config
from imgclf.workflow.advice import Advice, Measured, advise, verdict

SECONDS = 2.0  # to time each of the parts for, where the number of steps is not given
FEWEST, MOST = 3, 30  # steps then
IMAGES = 32  # opened one by one in this process


@dataclass(frozen=True)
class BenchResult:
    """What was measured and what follows; ``to_dict`` is the JSON of `imgclf bench`."""

    measured: Measured
    phase: str
    steps: int
    verdict: str
    advice: list[Advice]

    def to_dict(self) -> dict[str, Any]:
        m = self.measured
        parts = ("decode", "augment", "collate", "transfer", "prepare", "forward", "backward", "optimizer", "rest")
        with_what = (
            *("batch_size", "n_train", "workers", "cores", "threads", "device", "precision", "engine", "cache"),
            *("arch", "size"),
        )
        return {
            "images_per_second": {name: getattr(m, name) for name in ("pipeline", "step", "both", "inference")},
            "waiting": m.waiting,
            "ms_per_image": {name: getattr(m, name) for name in parts},
            **{name: getattr(m, name) for name in with_what},
            "phase": self.phase, "steps": self.steps,
            "verdict": self.verdict, "advice": [asdict(a) for a in self.advice],
        }  # fmt: skip


def bench(cfg: Config, steps: int | None = None, terminal: Terminal | None = None, trust: bool = False) -> BenchResult:
    """Measure the loader, the training step of the last phase, and both together; nothing is kept.

    Args:
        steps: To time; None: about two seconds of each.
        trust: Whether the code that a custom head names may run.

    Raises:
        UserError: of the kind that fits, as `train` does; ConfigError also where no phase trains in steps.
    """
    from imgclf.training import clock, network
    from imgclf.training.precision import autocast
    from imgclf.workflow import session

    terminal = terminal or Terminal(quiet=True)
    network.check_trust(cfg, trust)
    s = session.start(cfg, terminal)
    s.announce()
    phase = _phase(s)
    wait = clock.waiter(s.hardware.device)
    with s.explained():
        s.learn.freeze_to(phase.freeze_to)
        terminal.note("measuring: images one by one")
        decode, augment, raw, collate = _one_by_one(s)
        transfer, prepare, batch = clock.handing_over(s.loaders.dls.train, raw, FEWEST, wait)
        terminal.note(f"measuring: training steps ({phase.name})")
        once = clock.steps(s.learn, batch, 1, wait)
        n = steps or _enough(once.seconds)
        parts = clock.steps(s.learn, batch, n, wait)
        whole = clock.steps(s.learn, batch, n, _no_wait) if s.hardware.device.type == "cuda" else parts
        inference = clock.inference(s.learn, batch, n, autocast(s.hardware), wait)
        terminal.note("measuring: the loader")
        bs, workers = s.loaders.batch_size, s.loaders.workers
        pipeline = _loading(s, steps or _enough(bs * (decode + augment) / max(1, workers)))
        step = 1 / (transfer / bs + prepare / bs + whole.seconds / whole.images)
        terminal.note("measuring: both together")
        both = clock.together(s.learn, n, 2 if pipeline > step else 2 * workers + 2)
    idle = max(0.0, both.spent["waiting"] - both.images / bs * (transfer + prepare))
    spent: dict[str, Any] = {
        name: 1000 * parts.spent[name] / parts.images for name in ("forward", "backward", "optimizer", "rest")
    }
    measured = Measured(
        decode=1000 * decode, augment=1000 * augment, collate=1000 * collate, transfer=1000 * transfer / bs,
        prepare=1000 * prepare / bs, **spent, pipeline=pipeline, step=step, both=both.images / both.seconds,
        inference=inference, waiting=idle / both.seconds, **_circumstances(s),
    )  # fmt: skip
    return BenchResult(measured, phase.name, n, verdict(measured), advise(measured))


def _phase(s: Any) -> Any:
    """The last phase that trains step by step: it has most of the epochs."""
    found = [phase for phase in s.plan(s.given_lr or 1e-3, unfrozen=1e-3).phases if phase.epochs_of_steps]
    if not found:
        raise ConfigError(
            "no phase of this configuration trains step by step: train.epochs is 0, the probe alone",
            "measure with an epoch of training: --epochs 1",
        )
    return found[-1]


def _one_by_one(s: Any) -> tuple[float, float, Any, float]:
    """Seconds to open an image and to augment it, here; a batch that is not on the device; seconds an image of that."""
    from imgclf.data import loaders

    loader, dataset = s.loaders.dls.train, s.data.dataset
    opener = loaders.image_opener(s.loaders.dls)
    paths = [dataset.path(sample) for sample in dataset.train[:: max(1, len(dataset.train) // IMAGES)][:IMAGES]]
    for path in paths if opener.cache else paths[:1]:  # later epochs find the images there
        opener(path, split_idx=0)
    started = time.perf_counter()
    opened = [opener(path, split_idx=0) for path in paths]
    decoded = time.perf_counter()
    items = [loader.after_item((image,)) for image in opened]
    augmented = time.perf_counter()
    target = loader.dataset[0][1]
    batch = [(item[0], target) for item in islice(cycle(items), s.loaders.batch_size)]
    collating = []
    for _ in range(FEWEST):
        again = time.perf_counter()
        made = loader.do_batch(batch)
        collating.append((time.perf_counter() - again) / len(batch))
    return (decoded - started) / len(paths), (augmented - decoded) / len(paths), made, statistics.median(collating)


def _loading(s: Any, batches: int) -> float:
    """Images a second of the loader; with a cache, of an epoch after the first."""
    from imgclf.data import loaders
    from imgclf.training import clock

    loader, skip = s.loaders.dls.train, max(1, s.loaders.workers)
    batches = max(batches, 2 * skip)
    batches += -batches % skip  # whole rounds of the workers
    if loaders.image_opener(s.loaders.dls).cache:
        clock.loading(loader, min(batches + skip, len(loader)), 1)
    return clock.loading(loader, batches, skip)


def _circumstances(s: Any) -> dict[str, Any]:
    import torch

    from imgclf.data import loaders
    from imgclf.training import devices, quicker

    opener, size = loaders.image_opener(s.loaders.dls), s.loaders.preprocess.size
    slow = s.hardware.precision == "fp32" and size >= devices.BF16_PIXELS
    kind = type(opener.cache.store).__name__.lower() if opener.cache else "none"
    return {
        "batch_size": s.loaders.batch_size, "n_train": len(s.data.dataset.train), "workers": s.loaders.workers,
        "cores": cores(), "threads": torch.get_num_threads(), "device": s.hardware.device.type,
        "precision": s.hardware.precision, "engine": "fused" if opener.forms[0].average else "fastai", "cache": kind,
        "arch": s.arch.name, "size": size, "quicker": quicker.faster(s.hardware.device) if slow else None,
    }  # fmt: skip


def _enough(seconds: float) -> int:
    """How often something that takes so long is to be timed."""
    return min(MOST, max(FEWEST, math.ceil(SECONDS / max(seconds, 1e-6))))


def _no_wait() -> None:
    """A device works while the processor goes on, as in a training."""
