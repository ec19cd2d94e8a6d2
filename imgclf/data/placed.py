"""A loader whose randomness is a function of the place in the run: what makes a run resumable in mid-epoch, exactly."""

import itertools
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from fastai.vision.all import TfmdDL, set_seed, to_detach
from torch.utils.data import get_worker_info

from imgclf import memory, ranks
from imgclf.data import workers
from imgclf.data.unsampled import same_length
from imgclf.randomness import mix

BEING_READ = 2  # batches at a time: of the step that is computed, and of the one before while its loss is looked at


class PlacedLoader(TfmdDL):
    """A ``TfmdDL`` that can be told where in the run it is.

    Once ``place`` was called, an item's transforms draw from a seed of (place, item), and a batch's, and the training
    step on it, from one of (place, batch). So a pass can begin at any batch without reading those before it, and the
    number of workers changes nothing.

    Where several processes train together, each reads its share of every step's images: those that one process would
    read at a batch size larger by their number, in the same order. fastai's ``DistributedDL`` is not used: it
    broadcasts the order over CUDA alone, and its metrics count some images twice.
    """

    seed: int | None = None
    first_batch = 0
    # How often each item is drawn, in proportion; None: each once. fastai's WeightedDL draws with NumPy's generator,
    # which stands elsewhere when a pass begins in its middle.
    weights: Sequence[float] | None = None
    # Which items the batch handed out last is made of, in its order.
    numbers: Sequence[int] = ()
    _order: Sequence[int] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fake_l.__class__ = workers.TendedLoader  # fastai makes its own, and has no place to say which

    def wif(self) -> None:
        """fastai calls this in each new worker process."""
        workers.settle()

    def place(self, seed: int, first_batch: int = 0) -> None:
        """Make the next pass a function of ``seed``, beginning at batch ``first_batch``."""
        self.rng = random.Random(seed)  # fastai's order of the items
        self.seed, self.first_batch = seed, first_batch
        self.fake_l.generator = WorkerSeeds().manual_seed(seed)

    @property
    def step_size(self) -> int:
        """Images a step, of all processes together."""
        return int(self.bs or 1) * ranks.world()

    def __len__(self) -> int:
        return int(self.n // self.step_size if self.drop_last else -(-self.n // self.step_size))

    def get_idxs(self) -> list[int]:
        idxs: list[int] = super().get_idxs() if self.weights is None else self._drawn(self.weights)
        left = idxs[self.first_batch * self.step_size :]
        mine = share(left, int(self.bs or 1), ranks.rank(), ranks.world(), bool(self.drop_last))
        self._order = [i % self.n for i in mine]
        return mine

    def images(self, batch: int) -> int:
        """How many images a step has, counted from 0, those of all processes together and none twice."""
        return min(self.step_size, int(self.n) - batch * self.step_size)

    def create_batch(self, items: Any) -> Any:
        """Rows for the device to look images up in are as long as these are large."""
        return super().create_batch(same_length(items))

    def to_detach(self, b: Any, cpu: bool = True, gather: bool = True) -> Any:
        """What a metric keeps; the answers have been gathered before (``imgclf.training.distributed``)."""
        return to_detach(b, cpu, gather=False)

    def _drawn(self, weights: Sequence[float]) -> list[int]:
        """Item ``i``, drawn for the k-th time, as ``i + k * n``: so that each time has transforms of its own."""
        seen: Counter[int] = Counter()
        drawn = []
        for i in self.rng.choices(range(self.n), weights, k=self.n):
            drawn.append(i + seen[i] * self.n)
            seen[i] += 1
        return drawn

    def do_item(self, s: int) -> Any:
        item = s if s is None else s % self.n
        if self.seed is None:
            return super().do_item(item)
        seed = mix(self.seed, "item", s)
        if get_worker_info():  # a process in which nothing else is drawn
            draw_from(seed)
            return super().do_item(item)
        with seeded(seed):
            return super().do_item(item)

    def __iter__(self) -> Iterator[Any]:
        if self.seed is None:
            yield from self._numbered()
            return
        seed, batch = self.seed, self.first_batch
        seed_everything(batch_seed(seed, batch))
        for made in self._numbered():
            yield made
            batch += 1
            seed_everything(batch_seed(seed, batch))
        self.first_batch = 0

    def _numbered(self) -> Iterator[Any]:
        size = int(self.bs or 1)
        if self.fake_l.num_workers:
            memory.give_back()
        for i, made in enumerate(beside(super().__iter__(), self.device)):
            self.numbers = self._order[i * size : (i + 1) * size]
            yield made


def beside(batches: Iterator[Any], device: torch.device | None) -> Iterator[Any]:
    """The same batches; to a CUDA device they go, and are made ready there, beside what it computes.

    fastai waits for a batch to be there. On the stream that trains it would wait for the step before as well, and the
    device for the next one to begin.
    """
    if device is None or device.type != "cuda":
        yield from batches
        return
    trains, own = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    own.wait_stream(trains)  # what the transforms hold was brought there
    # Batches that may still be read: a stream gives the memory of what it made away as soon as nobody holds it. (Not
    # `record_stream`: a worker process that frees a copy of such a tensor dies of it.)
    read: deque[tuple[Any, torch.cuda.Event]] = deque()
    while True:
        if len(read) == BEING_READ:
            own.wait_event(read.popleft()[1])
        with torch.cuda.stream(own):
            made = next(batches, None)
        if made is None:
            return
        trains.wait_stream(own)
        yield made
        read.append((made, trains.record_event()))


def seed_everything(seed: int) -> None:
    """fastai's ``set_seed``. Without an accelerator torch would write down a stack trace for each kind there might be,
    milliseconds a batch."""
    if torch.accelerator.is_available():
        set_seed(seed)
        return
    draw_from(seed)


class WorkerSeeds(torch.Generator):
    """What torch draws the workers' seeds from, in the process that starts them.

    A spawned worker is sent it with the loader and needs nothing of it. Its state would go there in shared memory that
    is freed before the worker has begun.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerSeeds, ()


def batch_seed(seed: int, batch: int) -> int:
    """The seed of a batch's transforms and of the step on it; every process has its own images, and draws its own."""
    rank = ranks.rank()
    return mix(seed, "batch", batch, *([rank] if rank else []))


def share(idxs: list[int], bs: int, rank: int, world: int, drop_last: bool) -> list[int]:
    """What one of ``world`` processes reads: of every ``bs * world`` items the ``rank``-th ``bs``.

    The last step, unless dropped, may have fewer: they are dealt evenly and, where that leaves a remainder, filled up
    with items of the beginning, at the very end, where whoever gathers the answers cuts them off.
    """
    if world == 1:
        return idxs
    whole = len(idxs) // (bs * world) * bs * world
    mine = [i for at in range(rank * bs, whole, bs * world) for i in idxs[at : at + bs]]
    last = [] if drop_last else idxs[whole:]
    each = -(-len(last) // world)
    last = [*last, *itertools.islice(itertools.cycle(idxs), each * world - len(last))]
    return mine + last[rank * each : (rank + 1) * each]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch (CPU) inside the block; the states from before return after it."""
    with same_randomness_after():
        draw_from(seed)
        yield


def draw_from(seed: int) -> None:
    """Let Python, NumPy and torch (CPU) draw from this seed."""
    random.seed(seed)
    np.random.seed(seed % (2**32 - 1))
    torch.default_generator.manual_seed(seed)


@contextmanager
def same_randomness_after() -> Iterator[None]:
    """Whatever is drawn inside the block, Python, NumPy and torch (CPU) go on after it as if nothing had been."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
