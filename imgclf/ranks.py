"""Which of the processes that train one model this one is, as torchrun, `accelerate launch` and `--devices` say.

All of them set the same variables: https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

import os

from imgclf.errors import UserError


def world() -> int:
    """How many processes train together, on all machines; 1: this one alone."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process among all, from 0. The first writes and speaks, alone."""
    return _number("RANK", 0) if world() > 1 else 0


def local_rank() -> int:
    """The number of this process on its machine, from 0; also that of its GPU."""
    return _number("LOCAL_RANK", 0) if world() > 1 else 0


def check() -> None:
    """Raises UserError for a variable that is no number; everything else here takes such a one as not set."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        value = os.environ.get(name)
        if value and not value.isdecimal():
            raise UserError(
                f"the environment variable {name} is '{value}', not a number as torchrun sets it",
                f"unset {name}; to train in several processes use --devices, torchrun or accelerate launch",
            )


def _number(name: str, without: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else without


def is_first() -> bool:
    """Whether this is the process that writes and speaks; a process alone is."""
    return rank() == 0
