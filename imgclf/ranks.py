"""Which of the processes that train one model this one is, as torchrun, `accelerate launch` and `--devices` say.

All of them set the same variables: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

import os


def world() -> int:
    """How many processes train together, on all machines; 1: this one alone."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """The number of this process among all, from 0. The first writes and speaks, alone."""
    return int(os.environ.get("RANK") or 0) if world() > 1 else 0


def local_rank() -> int:
    """The number of this process on its machine, from 0; also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK") or 0) if world() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks; a process alone is."""
    return rank() == 0
