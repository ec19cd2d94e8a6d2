"""`train --devices N`: this command again in N processes, one a device, as torchrun would start them."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

from imgclf import ranks
from imgclf.console import Terminal
from imgclf.cores import cores
from imgclf.errors import EXIT_BUG, EXIT_DONE, ProcessLost

if TYPE_CHECKING:
    from imgclf.schema import Config

FORWARDED = (signal.SIGINT, signal.SIGTERM)
GRACE = 10.0  # seconds the others have to end by themselves when one has failed, and again when asked to


def wanted(cfg: "Config") -> int:
    """The processes to start; 1 where another launcher has started this one.

    Raises:
        UserError: if there are not so many devices, or Accelerate is not installed.
    """
    if ranks.world() > 1:
        return 1
    from imgclf.training.devices import processes
    from imgclf.workflow.together import need_accelerate

    n = processes(cfg)
    need_accelerate(n)
    return n


def launch(arguments: list[str], processes: int, terminal: Terminal) -> int:
    """Run the command line in so many processes of this machine; returns the exit code.

    It is that of the first process to fail, which has told why. The others are then ended.

    Raises:
        ProcessLost: if the process was killed that could have told.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    terminal.note(f"training in {processes} processes")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a process that is gone is told once, by us
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # ending the others is no news
    context = start_processes(_process, (processes, free_port(), arguments), processes, join=False)

    def forward(number: int, frame: FrameType | None) -> None:
        for process in context.processes:
            if process.is_alive():
                os.kill(process.pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        while not context.join(grace_period=GRACE):
            pass
    except ProcessExitedException as e:
        if e.signal_name and e.error_index == 0:  # of any other the first process tells that it is gone
            raise ProcessLost(
                f"process 0 of {processes} was ended by {e.signal_name}", "imgclf train --resume RUN"
            ) from e
        if e.signal_name:
            terminal.warn(f"process {e.error_index} of {processes} was ended by {e.signal_name}")
        return e.exit_code if e.exit_code > 0 else EXIT_BUG
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_DONE


def _process(rank: int, processes: int, port: int, arguments: list[str]) -> None:
    """What each process does."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the first command alone, which passes it on once
    os.environ.update(variables(rank, processes, port))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    # The loaders' workers start as they do outside: spawned as this process was, they would import torch every epoch.
    multiprocessing.set_start_method(None, force=True)
    from imgclf.cli.app import main

    try:
        main(arguments)
    except Exception:  # torch would hand the traceback to the first command, as if that had failed
        sys.excepthook(*sys.exc_info())
        sys.exit(EXIT_BUG)


def variables(rank: int, processes: int, port: int) -> dict[str, str]:
    """The environment variables of a process, as torchrun sets them."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    return {name: str(n) for name, n in numbers.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
