"""Images from the network, for those who allow it: http and https alone, within limits of size and time."""

import http.client
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from imgclf import __version__
from imgclf.data.network import NETWORK_TIMEOUT

SCHEMES = ("http", "https")
MOST_BYTES = 50 << 20
MOST_SECONDS = 30.0  # for one image, from the first byte sent to the last one received
CHUNK = 1 << 16


def scheme(text: str) -> str | None:
    """``https`` of ``https://…``; None where the text is no address but a path (``C:\\\\photos`` is one)."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)
    return found.group(1).lower() if found else None


@dataclass(frozen=True)
class Address:
    """Where an image is on the network."""

    url: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> bytes:
        """What is there.

        Raises:
            OSError: if it cannot be had within the limits; its text says why, in a line.
        """
        sockets: list[socket.socket] = []
        with _deadline(sockets, most_seconds) as late:
            try:
                data = self._read(_opener(sockets), most_bytes)
            except HTTPError as e:
                raise OSError(f"the server answers {e.code} {e.reason}") from e
            except (OSError, ValueError, http.client.HTTPException) as e:
                why = getattr(e, "reason", None) or e or type(e).__name__
                raise OSError(_late(most_seconds) if late() else f"cannot be fetched: {why}") from e
            if late():  # a body of unknown length ends where the connection does
                raise OSError(_late(most_seconds))
            return data

    def _read(self, opener: urllib.request.OpenerDirector, most_bytes: int) -> bytes:
        request = urllib.request.Request(self.url, headers={"User-Agent": f"imgclf/{__version__}", "Accept": "image/*"})
        with opener.open(request, timeout=NETWORK_TIMEOUT) as answer:
            data = bytearray()
            while chunk := answer.read1(CHUNK):
                data += chunk
                if len(data) > most_bytes:
                    raise ValueError(f"more than {most_bytes >> 20} MB")
            if answer.length:  # what is left of what the server announced
                raise ValueError(f"the connection ended {answer.length} bytes early")
            return bytes(data)


def _late(seconds: float) -> str:
    return f"not there after {seconds:g} seconds"


@contextmanager
def _deadline(sockets: list[socket.socket], seconds: float) -> Iterator[Any]:
    """Shut the sockets down after so many seconds: a time-out of theirs begins anew with each byte that drips in."""
    started = time.monotonic()

    def cut() -> None:
        for one in sockets:
            with suppress(OSError):  # closed already: there is nothing left to cut
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: time.monotonic() - started >= seconds
    finally:
        timer.cancel()


def _opener(sockets: list[socket.socket]) -> urllib.request.OpenerDirector:
    """Opens http and https, redirects among them included, and nothing else: no ``file:``, ``ftp:`` or ``data:``."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, request)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor(), PlainHandler(), SecureHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener
