"""The processes that read images: they leave every decision to end to the process that started them.

Ctrl-C in a terminal, ``kill`` with a process group, and queues such as Slurm send their signal to all processes of a
command. The training process then wants to finish its batch and save; a worker that ended at once would make that
batch fail. So a worker does not hear SIGINT and SIGTERM, from its first instruction on. The training process ends it
when its pass is over, by SIGKILL if need be; where that process dies itself, the system ends its workers with it (on
Linux; elsewhere they notice within seconds, as torch has it).
"""

import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from fastai.data.load import _FakeLoader, _MultiProcessingDataLoaderIter
from torch import multiprocessing as torch_multiprocessing
from torch.utils.data import get_worker_info

DEAF_TO = (signal.SIGINT, signal.SIGTERM)


class Worker(multiprocessing.Process):
    """A process that is born with those signals blocked, however processes are started here.

    Its ``terminate`` is a kill, as it would not hear anything less; that of its handle, too, which Python itself calls
    when an interpreter ends.
    """

    def start(self) -> None:
        with _blocked(), _unswept():
            super().start()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - Python's name for what makes the handle
        # Before anybody has the handle: where other threads run, Ctrl-C can strike within ``start`` all the same.
        handle: Any = multiprocessing.Process._Popen(process_obj)
        handle.terminate = getattr(handle, "kill", handle.terminate)
        return handle

    def terminate(self) -> None:
        self.kill()


class Context:
    """``multiprocessing``, but for its processes."""

    Process = Worker

    def __getattr__(self, name: str) -> Any:
        return getattr(torch_multiprocessing, name)


class TendedLoader(_FakeLoader):
    """What fastai hands to torch as a loader, which starts the workers with the context it names."""

    @property
    def multiprocessing_context(self) -> Context | None:
        return Context() if self.num_workers > 0 else None

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() and self.d.team:
            self.d.team.instruct(self.d)
        made: Iterator[Any] = super().__iter__()
        return made


class Team:
    """The processes of one loader, if they are to stay from pass to pass.

    With CUDA in use a process takes some hundredths of a second to start, and sixteen of them longer than an epoch of a
    small data set. What they have to know of a pass they find in memory that they share with the training process.

    Args:
        most: Items of a pass; for a longer one processes of its own are started.
    """

    def __init__(self, loader: TendedLoader, most: int) -> None:
        self.loader, loader.persistent_workers = loader, True
        self.order = torch.zeros(most, dtype=torch.int64).share_memory_()
        self.head = torch.zeros(3, dtype=torch.int64).share_memory_()  # how many items, seed, size of the images
        self.iterator: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "iterator": None}  # a spawned process has no use for it

    def begin(self, order: Sequence[int], seed: int, size: int) -> Any:
        """The batches of a pass over the items in ``order``, from ``seed`` and, in training, at ``size`` pixels."""
        n = len(order) if len(order) <= len(self.order) else 0
        self.order[:n] = torch.tensor(order[:n], dtype=torch.int64)
        self.head.copy_(torch.tensor([n, seed, size]))
        if n and self.iterator is not None:
            self.iterator._reset(self.loader)  # as torch does where workers persist
            return self.iterator
        started = _MultiProcessingDataLoaderIter(self.loader)
        self.iterator = started if n else self.iterator
        return started

    def instruct(self, loader: Any) -> None:
        """In a worker: let its copy of the loader know of the pass; nothing for one that has just inherited all."""
        n, seed, size = self.head.tolist()
        if n:
            loader.take_up(self.order[:n].tolist(), seed, size)


def settle() -> None:
    """To be called in a new worker, once: hear no request to end, and end with the process that started it."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent = getattr(torch_multiprocessing, "_prctl_pr_set_pdeathsig", None)
    if end_with_parent is not None and hasattr(signal, "SIGKILL"):
        end_with_parent(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # it died before the lines above


@contextlib.contextmanager
def _unswept() -> Iterator[None]:
    """A process started within the block never frees what it inherits: a tensor on a GPU could only end it."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Hold the signals back within the block; a process started in it inherits that. Nothing on Windows."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
