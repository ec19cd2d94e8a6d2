"""Target: what comes over HTTP, given to the server's application without a network in between."""

import asyncio
import atexit
import io
import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scripts.fuzzing.cases import Case

KINDS = (b"multipart/form-data; boundary=edge", b"image/png", b"application/octet-stream", b"multipart/form-data")
QUERIES = (b"", b"top_k=1", b"heatmap=1&top_k=2", b"top_k=x", b"%ff=%00")


@dataclass
class Served:
    """The application, started, and the loop it runs in."""

    app: Any
    loop: asyncio.AbstractEventLoop


def http(case: Case) -> None:
    """A request for a prediction: header, query and body, in pieces."""
    served = _served()
    data = _picture() if case.random.random() < 0.5 else _form()
    body = case.damaged(data) if case.random.random() < 0.9 else data
    kind = case.random.choice(KINDS)
    headers = [
        (b"host", b"localhost" if case.random.random() < 0.9 else case.damaged(b"localhost:80")),
        (b"content-type", kind if case.random.random() < 0.6 else case.damaged(kind)),
    ]
    if case.random.random() < 0.3:
        headers.append((b"content-length", case.damaged(b"%d" % len(body))))
    query = case.random.choice(QUERIES)
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/predict", "raw_path": b"/predict",
        "query_string": query if case.random.random() < 0.7 else case.damaged(query or b"top_k=1"), "root_path": "",
        "headers": headers, "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5), "asgi": {},
    }  # fmt: skip
    cut = case.random.randint(0, len(body))
    status, answer = served.loop.run_until_complete(_ask(served.app, scope, [body[:cut], body[cut:]]))
    if status >= 500:
        raise AssertionError(f"answered with {status}: {answer[:300]!r}")
    json.loads(answer)


async def _ask(app: Any, scope: dict[str, Any], pieces: list[bytes]) -> tuple[int, bytes]:
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in pieces]
    messages[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


@cache
def _served() -> Served:
    import numpy as np

    from imgclf.data.images import Preprocess
    from imgclf.shipping.inference import Predictor
    from imgclf.shipping.server.limits import Limits
    from imgclf.workflow import serve

    def forward(images: "np.ndarray") -> "np.ndarray":
        return np.asarray(images.mean((1, 2), dtype=np.float64), np.float32) / 16

    model = Predictor(
        name="colours", preprocess=Preprocess(size=8), format="onnx", classes=("r", "g", "b"), temperature=1.0,
        forward=forward,
    )  # fmt: skip
    limits = Limits(body_bytes=20_000, files=3, pixels=10_000)
    loop = asyncio.new_event_loop()
    app = serve.application(model, serve.describe(model, Path(), limits, {}), limits, workers=1)
    life = app.router.lifespan_context(app)
    loop.run_until_complete(life.__aenter__())
    atexit.register(lambda: loop.run_until_complete(life.__aexit__(None, None, None)))
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # as the server does
    return Served(app, loop)


@cache
def _picture() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (9, 7), "red").save(stream, "PNG")
    return stream.getvalue()


@cache
def _form() -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return (head + _picture() + b"\r\n") * 2 + b"--edge--\r\n"


TARGETS = (http,)
