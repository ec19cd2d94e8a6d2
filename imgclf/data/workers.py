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
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from fastai.data.load import _FakeLoader
from torch import multiprocessing as torch_multiprocessing

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


def settle() -> None:
    """To be called in a new worker, once: hear no request to end, and end with the process that started it."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _unless_hung_up
    end_with_parent = getattr(torch_multiprocessing, "_prctl_pr_set_pdeathsig", None)
    if end_with_parent is not None and hasattr(signal, "SIGKILL"):
        end_with_parent(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # it died before the lines above


def _unless_hung_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error of a thread, but not that the training process has ended its pass while a tensor was handed over.

    Python's thread for that (``multiprocessing.resource_sharer``) shows whatever happens to it.
    """
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


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
