"""Several processes that train one model: who begins, who writes, who tells. A process alone passes through it all."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from imgclf import ranks
from imgclf.console import Terminal
from imgclf.errors import EXIT_BUG, EXIT_DONE, ProcessLost, ToldElsewhere, UserError, missing
from imgclf.schema import Config

if TYPE_CHECKING:
    from imgclf.training.interrupt import StopRequest

T = TypeVar("T")


def voice(terminal: Terminal | None) -> Terminal:
    """The terminal given; a silent one where none is, and in every process but the first."""
    return terminal if terminal and ranks.is_first() else Terminal(quiet=True)


@contextmanager
def joined(cfg: Config) -> Iterator[None]:
    """Train with the other processes within the block. When one fails, all end, and one tells why.

    Raises:
        UserError: if Accelerate is not installed, or the device is not one that can work with others.
        ToldElsewhere: if another process failed first.
    """
    if ranks.world() == 1:
        yield
        return
    need_accelerate(ranks.world())
    from imgclf.training import devices, distributed

    os.environ.setdefault("LOCAL_RANK", "0")  # not set where every machine has one process
    distributed.join(devices.resolve(cfg).device)
    try:
        yield
    except ToldElsewhere:
        raise
    except Exception as e:
        first = distributed.is_first_to_fail()
        distributed.let_go()
        if not first:
            raise ToldElsewhere(e.exit_code if isinstance(e, UserError) else EXIT_BUG) from e
        error = _lost() if distributed.is_loss(e) else e
        if isinstance(error, UserError):
            error.process = ranks.rank()
        raise error from (e if error is not e else e.__cause__)


def _lost() -> ProcessLost:
    return ProcessLost(
        "another process of this run has ended, or cannot be reached",
        "what the launcher says may tell why; go on with imgclf train --resume RUN, launched as before",
    )


def part() -> None:
    """The training is done: go separate ways.

    Raises:
        ToldElsewhere: in all processes but the first, which judges the model and tells the result.
    """
    if ranks.world() == 1:
        return
    from imgclf.training import distributed

    distributed.leave()
    if not ranks.is_first():
        raise ToldElsewhere(EXIT_DONE)


def meet() -> None:
    """Wait until all processes are here."""
    if ranks.world() > 1:
        from torch import distributed

        distributed.barrier()


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` gives in the first process, in all of them."""
    if ranks.world() == 1:
        return make()
    from imgclf.training import distributed

    return distributed.from_first(make)


def agreed(value: T) -> T:
    """The value of the first process, in all: machines that differ may differ in a last digit."""
    return from_first(lambda: value)


def first_on_machine() -> AbstractContextManager[None]:
    """A context the first process of each machine passes through before its others: what it caches, they read."""
    if ranks.world() == 1:
        return nullcontext()
    from imgclf.training import distributed

    context: AbstractContextManager[None] = distributed.first_on_machine()
    return context


def callbacks(device: Any) -> list[Any]:
    """What a learner needs to train with the other processes; none for a process alone."""
    if ranks.world() == 1:
        return []
    from imgclf.training import distributed

    return [distributed.Together(device)]


def deciding(learn: Any, request: "StopRequest") -> Any:
    """What says whether to stop: this process's request; where there are several, that of any of them."""
    if ranks.world() == 1:
        return request
    learn.together.request = request
    return learn.together


def need_accelerate(processes: int) -> None:
    """Raise the UserError that names the extra, if several processes are to train without it."""
    if processes > 1 and find_spec("accelerate") is None:
        raise missing(f"a training in {processes} processes", "accelerate", "distributed")
