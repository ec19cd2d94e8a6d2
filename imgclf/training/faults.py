"""What a machine does to a run, told from bugs by torch's words, and how to go on."""

import torch

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
