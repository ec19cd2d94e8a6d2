"""uvicorn around the application: no log, no headers of its own, and a word when it is ready."""

import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from uvicorn import Config, Server

from imgclf.shipping.server.limits import Limits
from imgclf.shipping.server.protocol import guarded

BACKLOG = 128
GRACE = 30  # seconds that requests in progress have when the server is told to stop


class Announced(Server):
    """Calls ``started`` once it answers."""

    def __init__(self, app: Starlette, limits: Limits, started: Callable[[], None]) -> None:
        for name in ("uvicorn.error", "python_multipart"):  # a request that is no HTTP or form is its sender's business
            logging.getLogger(name).setLevel(logging.ERROR)
        super().__init__(
            Config(
                app, http=guarded(limits), ws="none", loop="asyncio", lifespan="on", log_config=None, access_log=False,
                proxy_headers=False, server_header=False, backlog=BACKLOG, timeout_graceful_shutdown=GRACE,
            )
        )  # fmt: skip
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    def run_until_stopped(self, listening: socket.socket) -> None:
        """Until SIGTERM, which is the normal end of a server, or SIGINT, which raises ``KeyboardInterrupt`` at the end.

        uvicorn lets requests in progress finish, and then raises the signal a second time.
        """

        def stop(*_: Any) -> None:
            self.should_exit = True

        before = signal.signal(signal.SIGTERM, stop)
        try:
            self.run([listening])
        finally:
            signal.signal(signal.SIGTERM, before)
