"""Whether the network may be used, and for how long a silent one is waited for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from imgclf.schema import Config

NETWORK_TIMEOUT = 5.0  # seconds without an answer


def forbidden(cfg: Config) -> bool:
    """Whether the user said ``--offline``."""
    return cfg.offline


@contextmanager
def short_timeout() -> Iterator[None]:
    """Whoever opens a connection inside gives up after ``NETWORK_TIMEOUT`` seconds without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
