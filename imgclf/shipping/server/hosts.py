"""By which names a request may ask for this server: against pages whose own name leads here (DNS rebinding)."""

import re
from collections.abc import Callable, Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from imgclf.shipping.server.limits import Refused

LOCAL = ("localhost", "127.0.0.1", "::1")
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/?#@\\]+))(?::\d*)?")  # a name or address, perhaps with a port
HINT = "whoever runs the server can allow the name: imgclf serve MODEL --allow-host NAME"


class Named:
    """Passes on the requests whose ``Host`` is a name of this server, whatever the port, and refuses the others.

    A stranger's page can have its own name lead to 127.0.0.1; a browser then takes the server for a part of that page
    and lets it read the answers. But the browser says by which name it came. The server's names are those of the
    machine itself, the ``allowed``, and the address at which the connection arrived: an address leads nowhere else.

    Args:
        refuse: Makes an answer of a refusal.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str], refuse: Callable[[Refused], Response]) -> None:
        self.app = app
        self.allowed = frozenset(map(canonical, (*LOCAL, *allowed)))
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (self.refuse(refused) if refused else self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refused | None:
        given = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        host = HOST.fullmatch(given[0]) if len(given) == 1 else None
        here = (scope.get("server") or ("",))[0]
        if host and canonical(host[1] or host[2]) in (*self.allowed, canonical(here)):
            return None
        return Refused(421, f"this server is not called {', '.join(given)[:80]!r}", HINT, unread=True)


def canonical(name: str) -> str:
    """A name as names are compared: without brackets, case, and the dot that ends a full one."""
    return name.strip("[]").lower().removesuffix(".")
