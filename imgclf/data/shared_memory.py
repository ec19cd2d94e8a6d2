"""Room for worker processes: on Linux they hand batches over through ``/dev/shm``, which containers often make tiny."""

import shutil

FOLDER = "/dev/shm"
PREFETCH = 2  # batches each worker reads ahead, torch's default
LARGER = "docker run --shm-size=1g makes it larger"
REMEDY = f"{LARGER}, --set data.workers=0 does without"


def free() -> int | None:
    """Bytes free in ``/dev/shm``; None where there is no such thing."""
    try:
        return shutil.disk_usage(FOLDER).free
    except OSError:
        return None


def size() -> str:
    """How large it is, in words."""
    try:
        usage = shutil.disk_usage(FOLDER)
    except OSError:
        return f"there is no {FOLDER}"
    return f"{FOLDER} has {_mb(usage.free)} free of {_mb(usage.total)}"


def afford(workers: int, batch: int) -> tuple[int, str]:
    """As many of ``workers`` as there is room for, and a note if there are fewer.

    Args:
        batch: Bytes of one batch.
    """
    room = free()
    most = workers if room is None else max(0, (room // batch - 1) // PREFETCH)
    if most >= workers:
        return workers, ""
    return most, f"{most} workers instead of {workers}: {_short(workers, batch)} ({REMEDY})"


def warning(workers: int, batch: int) -> str:
    """What to tell a user who asked for more workers than there is room for; else nothing."""
    if afford(workers, batch)[0] == workers:
        return ""
    return f"data.workers: {_short(workers, batch)}; if the run ends with a bus error, {REMEDY}"


def _short(workers: int, batch: int) -> str:
    return f"{workers} may need {_mb((PREFETCH * workers + 1) * batch)} of shared memory, and {size()}"


def _mb(n: int) -> str:
    return f"{n / 1e6:,.0f} MB"
