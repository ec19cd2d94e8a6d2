"""Where the time of training steps goes: clocks for a loader, for the network, and for both together."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from fastai.vision.all import Callback, CancelValidException, Learner, to_device

from imgclf.data.placed import PlacedLoader

LR = 1e-6  # what is timed is a step, not where it leads


class Clock(Callback):
    """Add up the seconds of the parts of training steps, from step number ``skip`` on, and skip validation.

    Attributes:
        spent: By part: ``waiting`` for the loader, ``forward`` with the loss, ``backward``, ``optimizer``, ``rest``.
        seconds: Of all parts; ``images`` that were trained on meanwhile.
    """

    order = -200  # before what other callbacks do in an event: that belongs to the part that follows

    def __init__(self, skip: int, wait: Callable[[], object]) -> None:
        self.skip, self.wait, self.images = skip, wait, 0
        self.spent: defaultdict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> float:
        return sum(self.spent.values())

    def before_train(self) -> None:
        self.last = time.perf_counter()

    def before_validate(self) -> None:
        raise CancelValidException

    def before_batch(self) -> None:
        if self.iter == self.skip:
            self.spent.clear()
        self.mark("waiting")

    def before_backward(self) -> None:
        self.mark("forward")

    def after_backward(self) -> None:
        self.mark("backward")

    def after_step(self) -> None:
        self.mark("optimizer")

    def after_batch(self) -> None:
        self.mark("rest")
        self.images += len(self.yb[0]) if self.iter >= self.skip else 0

    def mark(self, part: str) -> None:
        """Book the time since the last mark on a part, once the device is done with it."""
        self.wait()
        now = time.perf_counter()
        self.spent[part] += now - self.last
        self.last = now


class Feed(Callback):
    """Train on one batch, again and again, instead of what the loader has."""

    order = -199

    def __init__(self, batch: Any, times: int) -> None:
        self.batch, self.times = batch, times

    def before_train(self) -> None:
        self.learn.dl = [self.batch] * self.times


def waiter(device: torch.device) -> Callable[[], object]:
    """What waits until a device has done all it was given; on a processor it has."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def steps(learn: Learner, batch: Any, n: int, wait: Callable[[], object]) -> Clock:
    """``n`` training steps on one batch that is on the device already, after one to warm up."""
    clock = Clock(1, wait)
    learn.fit(1, LR, cbs=[clock, Feed(batch, n + 1)])
    return clock


def together(learn: Learner, n: int, skip: int) -> Clock:
    """``n`` training steps on what the loader gives, after ``skip``."""
    clock = Clock(skip, lambda: None)
    with repeating(learn.dls.train, n + skip):
        learn.fit(1, LR, cbs=[clock])
    return clock


@contextmanager
def repeating(loader: PlacedLoader, batches: int, images: int | None = None) -> Iterator[PlacedLoader]:
    """Within the block a pass has so many batches, of the first so many images: again and again if there are fewer."""
    own = list(loader.get_idxs())[:images]
    drawn = _drawn(own, int(loader.n), batches * int(loader.bs or 1))
    loader.__dict__["get_idxs"] = lambda: drawn
    try:
        yield loader
    finally:
        del loader.get_idxs


def _drawn(own: Sequence[int], n: int, wanted: int) -> list[int]:
    """Items in turns; the k-th time as ``item + k * n``, which ``PlacedLoader`` reads as the item with other draws."""
    return [own[k % len(own)] + k // len(own) * n for k in range(wanted)]


def loading(loader: PlacedLoader, batches: int, skip: int) -> float:
    """Images a second of the loader alone, from batch number ``skip`` on."""
    started, images = 0.0, 0
    with repeating(loader, batches + skip):
        for i, batch in enumerate(loader):
            images += len(batch[0]) if i >= skip else 0
            if i == skip - 1:
                started = time.perf_counter()
    return images / (time.perf_counter() - started)


def handing_over(loader: PlacedLoader, raw: Any, times: int, wait: Callable[[], object]) -> tuple[float, float, Any]:
    """Seconds to bring a batch to the device, and of its transforms there; and the batch, ready to train on."""
    transfer, prepare = [], []
    for _ in range(times + 1):  # the first warms up
        started = time.perf_counter()
        moved = to_device(raw, loader.device)
        wait()
        transfer.append(time.perf_counter() - started)
        ready = loader.after_batch(moved)
        wait()
        prepare.append(time.perf_counter() - started - transfer[-1])
    return _typical(transfer[1:]), _typical(prepare[1:]), ready


@torch.no_grad()
def inference(learn: Learner, batch: Any, n: int, autocast: Any, wait: Callable[[], object]) -> float:
    """Images a second of the forward pass alone."""
    learn.model.eval()
    for i in range(n + 1):
        if i == 1:
            wait()
            started = time.perf_counter()
        with autocast:
            learn.model(batch[0])
    wait()
    return n * len(batch[0]) / (time.perf_counter() - started)


def _typical(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
