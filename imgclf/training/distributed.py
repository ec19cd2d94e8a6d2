"""Several processes train one model: torch's DistributedDataParallel, set up by fastai's trainer and Accelerate.

Imported only where there are several: fastai's part needs Accelerate, an optional package.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast, broadcast_object_list
from fastai.distributed import DistributedTrainer
from fastai.vision.all import maybe_gather
from torch import Tensor, distributed

from imgclf import ranks
from imgclf.errors import ConfigError
from imgclf.training.interrupt import StopRequest

T = TypeVar("T")

# A process may wait so long for another: the first on a machine checks every image while the others wait.
PATIENCE = timedelta(hours=3)
ENGINES = (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
FAILED = "imgclf/failed"  # how many processes have failed, in the processes' common store


def join(device: Any) -> None:
    """Meet the other processes: NCCL between CUDA devices, gloo between processors."""
    PartialState(cpu=device.type == "cpu", timeout=PATIENCE)


def leave() -> None:
    """Wait for the other processes, then go separate ways."""
    distributed.barrier()
    distributed.destroy_process_group()


def let_go() -> None:
    """Part from processes that may be gone. NCCL could wait for them for ever: there the end of this one does it."""
    if distributed.is_initialized() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()  # left to the end of Python, it can abort and spoil the exit code


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` gives in the first process, in all of them."""
    box = [make() if ranks.is_first() else None]
    made: T = broadcast_object_list(box)[0]
    return made


def first_on_machine() -> Any:
    """A context the first process of each machine passes through before its others."""
    return PartialState().local_main_process_first()


def is_first_to_fail() -> bool:
    """Whether no other process has failed yet: only one is told so, or each once they have parted."""
    if not distributed.is_initialized():
        return True
    try:
        return int(distributed.distributed_c10d._get_default_store().add(FAILED, 1)) == 1
    except RuntimeError:  # the store is gone, and with it the process that failed first
        return False


def is_loss(error: BaseException) -> bool:
    """Whether an exception is what torch raises when another process is gone."""
    says = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection"))
    return isinstance(error, distributed.DistError) or says


class Together(DistributedTrainer):
    """Train as one: averaged gradients, one loss, one decision to stop, metrics over every validation image once.

    After a step, ``loss`` is the mean of all processes, so that whatever looks at it decides alike everywhere.

    Args:
        request: This process's own wish to stop; ``asked`` is that of any process, as of the last step.
    """

    order = 11  # after mixed precision, as fastai has it

    def __init__(self, device: Any) -> None:
        # BatchNorm over the images of all processes; torch has it for GPUs alone.
        super().__init__(sync_bn=device.type == "cuda", cpu=device.type == "cpu", mixed_precision="no")
        if self.accelerator.distributed_type not in ENGINES:
            raise ConfigError(
                f"accelerate is set up for {self.accelerator.distributed_type.value}; imgclf trains with torch's "
                "DistributedDataParallel",
                "accelerate launch --multi_gpu -m imgclf train …, or imgclf train --devices N",
            )
        self.asked = False
        self.request = StopRequest()

    def _wrap_dl(self, dl: Any) -> Any:
        return dl  # ours reads its share already

    def after_loss(self) -> None:
        """In validation every process goes on with the answers of all, each image once, and their loss."""
        if self.training:
            return
        n = self.dl.images(self.iter)
        self.learn.pred = maybe_gather(self.pred)[:n]
        self.learn.yb = tuple(maybe_gather(y)[:n] for y in self.yb)
        self.learn.loss = self.loss_func(self.pred, *self.yb)

    def after_batch(self) -> None:
        if not self.training:
            return
        mine = torch.stack(
            [self.loss.detach().float(), torch.tensor(float(self.request.asked), device=self.loss.device)]
        )
        means = maybe_gather(mine.as_subclass(Tensor)[None]).mean(0)
        self.learn.loss, self.asked = means[0], bool(means[1] > 0)

    def before_validate(self) -> None:
        super().before_validate()
        broadcast(list(self.model.buffers()))  # statistics of BatchNorm: the first process's, which are saved
