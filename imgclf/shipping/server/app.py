"""The web application: the page, ``/predict``, ``/model``, ``/health`` and ``/openapi.json``."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from imgclf.console import finite
from imgclf.shipping.server import bodies, page
from imgclf.shipping.server.hosts import Named
from imgclf.shipping.server.limits import Refused, problem
from imgclf.shipping.server.openapi import describe
from imgclf.shipping.server.service import Service

ASKED = ("top_k", "heatmap")
LINGER = 2.0  # seconds the rest of a refused body is read and thrown away
SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}


def build(service: Service, facts: dict[str, Any], hosts: Sequence[str] = ()) -> Starlette:
    """The application.

    Args:
        facts: What ``/model`` says.
        hosts: Names by which it may be asked for, beside those of this machine.
    """
    description = describe(facts, service.limits)

    async def predict(request: Request) -> Response:
        return await _predict(request, service)

    async def health(request: Request) -> Response:
        busy = {"running": service.running, "served": service.served, "batches": service.batcher.batches}
        return JSONResponse({"status": "ok", "model": facts["model"], **busy}, headers=SAFE)

    async def model(request: Request) -> Response:
        return JSONResponse(finite(facts), headers=SAFE)

    async def openapi(request: Request) -> Response:
        return JSONResponse(description, headers=SAFE)

    async def home(request: Request) -> Response:
        return Response(page.HTML, media_type="text/html", headers={**SAFE, "content-security-policy": page.POLICY})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(service.batcher.run())
        yield
        worker.cancel()
        service.close()

    routes = [
        Route("/", home, methods=["GET"]), Route("/predict", predict, methods=["POST"]),
        Route("/health", health, methods=["GET"]), Route("/model", model, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]  # fmt: skip
    handlers: Any = {Refused: _refused, HTTPException: _unknown, ClientDisconnect: _gone, Exception: _failed}
    named = Middleware(Named, allowed=hosts, refuse=_refusal)
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=[named])


async def _predict(request: Request, service: Service) -> Response:
    if request.headers.get("sec-fetch-site") == "cross-site":  # only browsers say so, and a page cannot change it
        raise Refused(403, "the request comes from a page of another site", unread=True)
    top_k, heat = _asked(request.query_params, len(service.predictor.classes))
    with service.place(unread=True):
        uploads = await bodies.read(request, service.limits)
        rows = await service.rows(uploads, top_k, heat)
    answer: dict[str, Any] = {"model": service.predictor.name, "predictions": rows}
    if all("error" in row for row in rows):
        several = f"none of the {len(rows)} files can be read; the first: " if len(rows) > 1 else ""
        return JSONResponse({**problem(422, f"{several}{rows[0]['error']}"), **answer}, 422, SAFE)
    return JSONResponse(finite(answer), headers=SAFE)


def _asked(query: QueryParams, n_classes: int) -> tuple[int | None, bool]:
    """``top_k`` and ``heatmap``."""
    unknown = [name for name in query if name not in ASKED]
    if unknown:
        raise Refused(400, f"there is no parameter '{unknown[0][:80]}'", f"one of {', '.join(ASKED)}", unread=True)
    top_k, heat = query.get("top_k"), query.get("heatmap", "0")
    # The length first: Python makes no number of thousands of digits.
    if top_k is not None and not (
        len(top_k) < 10 and top_k.isascii() and top_k.isdigit() and 0 < int(top_k) <= n_classes
    ):
        raise Refused(400, f"top_k is '{top_k[:80]}', not a number from 1 to {n_classes}", unread=True)
    if heat not in ("0", "1"):
        raise Refused(400, f"heatmap is '{heat[:80]}', not 0 or 1", unread=True)
    return None if top_k is None else int(top_k), heat == "1"


class Farewell(JSONResponse):
    """An answer before the body has been read: it is sent at once, and what still comes is thrown away for a while.

    Without that, closing the connection resets it, and a client in the middle of sending never sees the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(receive), LINGER)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _refused(request: Request, e: Any) -> Response:
    return _refusal(e)


def _refusal(e: Refused) -> Response:
    headers = {**SAFE, **e.headers, "connection": "close"}
    return (Farewell if e.unread else JSONResponse)(e.document, e.status, headers)


async def _unknown(request: Request, e: Any) -> Response:
    allowed = e.headers or {}
    hint = f"use {allowed['Allow']}" if "Allow" in allowed else "the addresses are in /openapi.json"
    headers = {**SAFE, **allowed, "connection": "close"}
    document = problem(e.status_code, f"{request.method} {request.url.path[:80]}: {e.detail}", hint)
    return Farewell(document, e.status_code, headers)


async def _gone(request: Request, e: Any) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _failed(request: Request, e: Any) -> Response:
    return JSONResponse(problem(500, "the server failed; its log says how"), 500, {**SAFE, "connection": "close"})
