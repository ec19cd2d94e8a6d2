"""What a request may cost, and the clean no that answers one that would cost more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes and pixels, times in seconds.

    Attributes:
        body_bytes: Of one request, all its files together.
        files: Images in one request.
        fields: Other form fields in one request.
        pixels: Of one image, before decoding: a small file can hold any number of them.
        requests: Predictions in progress at once, uploads included; more are sent away (503).
        connections: Open at once; more are sent away (503).
        header_seconds: From the start of a request to the end of its header.
        stall_seconds: Between two pieces of a body.
        body_seconds: For the whole of a body.
        read_seconds: For a client to take in what has been sent to it, before more is.
    """

    body_bytes: int = 20 << 20
    files: int = 32
    fields: int = 16
    pixels: int = 50_000_000
    requests: int = 64
    connections: int = 256
    header_seconds: float = 10.0
    stall_seconds: float = 10.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0


@dataclass(eq=False)
class Refused(Exception):
    """A request that is not served.

    Attributes:
        status: Of HTTP, 4xx or 503.
        unread: Whether part of the body may still be on its way.
    """

    status: int
    message: str
    hint: str | None = None
    unread: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The answer's JSON."""
        return problem(self.status, self.message, self.hint)


def problem(status: int, message: str, hint: str | None = None) -> dict[str, Any]:
    """What every answer but a good one says."""
    return {"error": {"status": status, "message": message, "hint": hint}}


def busy(message: str, unread: bool = False) -> Refused:
    """Too much at once: worth another try in a moment."""
    return Refused(503, message, "try again in a second", unread, {"retry-after": "1"})
