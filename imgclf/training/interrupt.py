"""Ctrl-C without loss: the first asks the run to stop after this batch, the second stops at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def graceful(notify: Callable[[], object]) -> Iterator[StopRequest]:
    """Within the block the first SIGINT (or SIGTERM) sets ``asked`` and calls ``notify``; the next one interrupts."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may handle signals
        return

    def first(number: int, frame: FrameType | None) -> None:
        request.asked = True
        signal.signal(number, signal.default_int_handler)
        notify()

    before = {s: signal.signal(s, first) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
