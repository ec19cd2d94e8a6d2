"""What to change so that training gets faster: only what was measured says so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

STARVED = 0.15  # of a step's time spent waiting for the loader
CLEARLY = 1.3  # times as fast: worth telling
SHARED = 0.75  # of what the slower of two does alone
MOST = 0.5  # of the loader's work
MUCH = 0.2  # of a step
COSTLY = 0.15  # of all work of a processor
LARGER = ("resnet34", "resnet50", "resnet101", "resnet152")
SMALLEST_SIZE, SIZE_STEP = 128, 32


@dataclass(frozen=True)
class Measured:
    """Milliseconds an image, images a second, and what they were measured with.

    Attributes:
        decode, augment, collate: In one process, of the loader.
        transfer, prepare: To the device, and the transforms of the batch there.
        forward, backward, optimizer, rest: Of a training step on a batch that is there.
        pipeline, step, both, inference: Images a second of the loader alone, of the step alone, of both together, and
            of the forward pass alone.
        waiting: The share of both together that is spent waiting for the loader.
        quicker: Another precision and how many times as fast it is here, where that is known.
    """

    decode: float
    augment: float
    collate: float
    transfer: float
    prepare: float
    forward: float
    backward: float
    optimizer: float
    rest: float
    pipeline: float
    step: float
    both: float
    inference: float
    waiting: float
    batch_size: int
    n_train: int
    workers: int
    cores: int
    threads: int
    device: str
    precision: str
    engine: str
    cache: str
    arch: str
    size: int
    quicker: tuple[str, float] | None = None

    @property
    def loader_ms(self) -> float:
        """What an image costs the loader, in one process."""
        return self.decode + self.augment + self.collate

    @property
    def step_ms(self) -> float:
        """What an image costs the process that trains, in wall time."""
        return self.transfer + self.prepare + self.forward + self.backward + self.optimizer + self.rest

    @property
    def starved(self) -> bool:
        """Whether the network waits for the loader."""
        return self.waiting > STARVED and self.pipeline < CLEARLY * self.step

    @property
    def shared(self) -> bool:
        """Whether both together are much slower than the slower one alone: they take each other's time."""
        return self.device == "cpu" and self.workers > 0 and self.both < SHARED * min(self.pipeline, self.step)

    @property
    def network_bound(self) -> bool:
        """Whether the loader could feed clearly more than the network takes."""
        return self.pipeline > CLEARLY * self.step


@dataclass(frozen=True)
class Advice:
    """What would help, why, and the option that does it."""

    why: str
    option: str


def verdict(m: Measured) -> str:
    """In one sentence: who waits for whom."""
    rates = f"the loader feeds {_rate(m.pipeline)}, the network takes {_rate(m.step)}"
    if not m.workers and m.waiting > STARVED:
        return f"{rates}, one after the other (data.workers: 0): {m.waiting:.0%} of the time is loading"
    if m.starved:
        return f"{rates}: {m.waiting:.0%} of the time it waits for data"
    if m.shared:
        return f"{rates}, both together {_rate(m.both)}: they share the {m.cores} cores of this processor"
    if m.network_bound:
        return f"{rates}: more workers would not help"
    return f"{rates}: neither waits long for the other"


def advise(m: Measured) -> list[Advice]:
    """What the measurements support, the most direct first; none: nothing to change."""
    return [Advice(why, option) for rule in RULES for why, option in rule(m)]


Found = Iterable[tuple[str, str]]


def _cache(m: Measured) -> Found:
    """Decoding is most of what the network waits for, or costs the processor it computes on."""
    if m.cache != "none":
        return
    share = m.decode / m.loader_ms
    of_all = m.decode / (m.loader_ms + m.step_ms * m.threads)
    if m.starved and share >= MOST:
        yield f"reading and decoding are {share:.0%} of the loader's work", "--set data.cache=disk"
    elif m.device == "cpu" and of_all >= COSTLY:
        yield (
            f"reading and decoding are {of_all:.0%} of all the work on this processor, which the network needs too",
            "--set data.cache=disk",
        )


def _workers(m: Measured) -> Found:
    """Cores are idle, and the workers there are do their share."""
    each = 1000 / m.loader_ms
    if not m.workers:
        if m.waiting > STARVED and m.cores > m.threads:
            n = m.cores - m.threads
            yield f"images are loaded between the steps, and {n} of {m.cores} cores are idle", f"--set data.workers={n}"
    elif m.starved and m.workers < m.cores and m.pipeline > 0.6 * each * m.workers:
        yield f"{m.workers} workers read images, and there are {m.cores} cores", f"--set data.workers={m.cores}"


def _engine(m: Measured) -> Found:
    share = m.prepare / m.step_ms
    if m.engine == "fastai" and share >= MUCH:
        yield (
            f"augmenting the batch takes {share:.0%} of a step; the fused engine leaves it to the workers, in a "
            "fraction of the time",
            "--set augment.engine=fused",
        )


def _precision(m: Measured) -> Found:
    if m.quicker and not m.starved and m.quicker[0] != m.precision and m.quicker[1] >= CLEARLY:
        name, times = m.quicker
        yield (
            f"a training step in {name} is {times:.1f} times as fast here as in {m.precision}",
            f"--set train.precision={name}",
        )


def _smaller(m: Measured) -> Found:
    share = (m.forward + m.backward) / m.step_ms
    if not m.network_bound or share < MOST:
        return
    size = m.size * 3 // 4 // SIZE_STEP * SIZE_STEP
    if size >= SMALLEST_SIZE:
        yield (
            f"forward and backward are {share:.0%} of a step; {size} pixels are {(size / m.size) ** 2:.0%} of the work",
            f"--size {size}",
        )
    if m.arch in LARGER:
        yield f"forward and backward are {share:.0%} of a step, and {m.arch} is a large network", "--arch resnet18"


def _batch(m: Measured) -> Found:
    share = m.optimizer / m.step_ms
    if share >= MUCH and 2 * m.batch_size <= m.n_train and not m.starved:
        yield (
            f"the optimizer takes {share:.0%} of a step, as long for a larger batch",
            f"--batch-size {2 * m.batch_size}",
        )


RULES: tuple[Callable[[Measured], Found], ...] = (_cache, _workers, _engine, _precision, _smaller, _batch)


def _rate(value: float) -> str:
    return f"{value:.0f} images/s" if value >= 10 else f"{value:.1f} images/s"
