"""How many processor cores there are for this process, which may be fewer than the machine has."""

import os


def cores() -> int:
    """The cores this process may run on: a queue such as Slurm, or ``taskset``, gives some of the machine's."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(allowed(0)) if allowed else os.cpu_count() or 1
