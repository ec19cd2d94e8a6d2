"""What torch says when a machine fails, and what we make of it."""

import pytest
import torch

from imgclf.errors import DataError, RunError
from imgclf.training import faults

RESUME = "imgclf train --resume runs/x"


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
                      "workers are out of shared memory. Please try to raise your shared memory limit."),
         "shared memory ran out between the 3 processes", "--shm-size"),
        (RuntimeError("unable to open shared memory object </torch_12_3>: No space left on device (28)"),
         "shared memory ran out", "--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "signal: Killed", "data.workers=0"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "(pid(s) 7, 8)", "data.workers=0"),
        (OSError(28, "No space left on device", "runs/x/model.json"), "the disk is full: runs/x", "make room"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried 9 GiB"), "Tried 9 GiB", "--batch-size"),
        (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\n…\nRuntimeError: "
                      "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
         "a process that reads images ran out", "--size"),
        (MemoryError(), "the run ran out of memory: MemoryError", "--size"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_a_way_on(error, said, advice):
    with pytest.raises(RunError) as caught, faults.explained(3, RESUME):
        raise error
    assert said in caught.value.message
    assert advice in caught.value.hint
    assert RESUME in caught.value.hint
    assert caught.value.__cause__ is error
    assert RESUME not in faults.explain(error, 3).hint


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError("out of resource: shared memory"),
     DataError("CUDA out of memory"), ValueError("x")],
)  # fmt: skip
def test_what_is_no_fault_of_the_machine_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, faults.explained(0):
        raise error
    assert caught.value is error
