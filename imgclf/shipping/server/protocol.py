"""uvicorn's HTTP/1.1, with limits on slow clients and on connections, and JSON where it would answer itself."""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from imgclf.shipping.server.limits import Limits, busy, problem


class Guarded(H11Protocol):
    """One connection."""

    limits = Limits()
    _slow: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _spoke = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            refused = busy("too many connections")
            self._refuse(refused.status, refused.document, refused.headers)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._stuck is not None:
            self._stuck.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._spoke = True
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(self.limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, problem(400, "this is not HTTP"))

    def _watch(self) -> None:
        """A clock runs from a request's first byte (the first one's: from the connection) to the end of its header."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch()
        elif self._slow is None:
            self._slow = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _unwatch(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        if not self._spoke:  # browsers open connections in advance and expect nothing on them
            self.transport.close()
        elif self.conn.their_state is h11.IDLE:
            self._refuse(408, problem(408, "the request's header did not arrive in time"))

    def _refuse(self, status: int, document: dict[str, Any], more: Any = None) -> None:
        """Answer without the application and close; only close, if an answer is under way already."""
        if not self.transport.is_closing() and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(document).encode()
            headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            head = h11.Response(
                status_code=status, headers=[*{**headers, **(more or {})}.items()], reason=STATUS_PHRASES[status]
            )
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True  # the application may be in the middle of it
            self.cycle.message_event.set()
        self.transport.close()


def guarded(limits: Limits) -> type[Guarded]:
    """The protocol with these limits; uvicorn makes one of the class for each connection."""
    return type("Guarded", (Guarded,), {"limits": limits})
