"""What a machine does to a run, told from bugs by torch's words, and how to go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from imgclf import disk
from imgclf.data import shared_memory
from imgclf.data.presize import LOST, ImageLost
from imgclf.errors import DataError, RunError, UserError, told_as

LESS_MEMORY = "use smaller images (--size), a smaller network (--arch), or another device (--device cpu)"

# torch raises a plain RuntimeError for some: the processor's allocator, cuDNN, cuBLAS and Apple's MPS.
OUT_OF_MEMORY = (
    "can't allocate memory", "not enough memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED",
    "out of memory",
)  # fmt: skip

# What torch says of /dev/shm when it is full; the kernel's way of saying it is a bus error.
SHARED_MEMORY = ("out of shared memory", "open shared memory", "allocate shared memory", "Bus error", "</torch_")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, or Python, could not get memory on some device."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def explained(workers: int, resume: str | None = None) -> Iterator[None]:
    """Raise what the machine is to blame for as a RunError that says so.

    Args:
        workers: Of the loaders.
        resume: The command that goes on with the run, if there is one.
    """
    with told_as(lambda e: explain(e, workers, resume)):
        yield


def explain(error: Exception, workers: int, resume: str | None = None) -> UserError | None:
    """The error for a lost image, a dead worker, a full disk, too little memory, shared or not; None for others."""
    text = "\n".join(map(str, disk.chain(error)))  # torch tells what killed a worker in the error before
    go_on = f"; go on: {resume}" if resume else ""
    fewer = f"; go on without workers: {resume} --set data.workers=0" if resume else " or --set data.workers=0"
    if any(isinstance(e, ImageLost) for e in disk.chain(error)):
        return DataError(
            f"an image has changed since the check: {_last_line(LOST + text.partition(LOST)[2].splitlines()[0])}",
            f"put it back as it was{go_on}",
        )
    if any(words in text for words in SHARED_MEMORY):
        return RunError(
            f"shared memory ran out between the {workers} processes that read images: {shared_memory.size()}",
            f"{shared_memory.LARGER}{fewer}",
        )
    if "DataLoader worker" in text and ("is killed by signal" in text or "exited unexpectedly" in text):
        return RunError(
            f"one of the {workers} processes that read images died: {_last_line(text)}",
            f"most often memory was short, and the system ends the largest process: use fewer data.workers{fewer}",
        )
    if found := disk.explain(error, go_on=resume):
        return found
    if is_out_of_memory(error):
        where = "a process that reads images" if "DataLoader worker" in text else "the run"
        said = _last_line(text) or type(error).__name__
        return RunError(f"{where} ran out of memory: {said}", f"{LESS_MEMORY}, a smaller --batch-size{go_on}")
    return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


@dataclass(frozen=True)
class Divergence:
    """Where training left the numbers; epoch and batch count from 1, ``lr`` is the highest of that step."""

    what: str
    phase: str
    epoch: int
    batch: int
    lr: float

    def __str__(self) -> str:
        return (
            f"{self.what} in epoch {self.epoch} of the {self.phase} phase, at batch {self.batch}, "
            f"at a learning rate of {self.lr:.2g}"
        )


class Diverged(Exception):
    """A fit that ended in a loss or weights that are no numbers."""

    def __init__(self, where: Divergence) -> None:
        super().__init__(str(where))
        self.where = where


def finite(model: nn.Module) -> bool:
    """Whether all weights and statistics of a model are numbers."""
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    return bool(torch.stack([t.isfinite().all() for t in tensors]).all())
