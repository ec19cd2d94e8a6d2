"""What a machine does to a run, told from bugs by torch's words, and how to go on."""

from dataclasses import dataclass

import torch
from torch import nn

LESS_MEMORY = "use smaller images (--size), a smaller network (--arch), or another device (--device cpu)"

# torch raises a plain RuntimeError for some: the processor's allocator, cuDNN, cuBLAS and Apple's MPS.
OUT_OF_MEMORY = (
    "can't allocate memory", "not enough memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED",
    "out of memory",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, or Python, could not get memory on some device."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


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
