"""The images in a request's body: one raw image, or files of a form. Memory only, within limits."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from imgclf.shipping.server.limits import Limits, Refused

RAW = ("image/", "application/octet-stream")
HOW = "send files as multipart/form-data (curl -F file=@photo.jpg …), or one image with its type (image/jpeg)"


@dataclass(frozen=True)
class Upload:
    """One file as it came; ``name`` is the client's own, None for a raw body."""

    name: str | None
    data: bytes


class InMemory(MultiPartParser):
    """Starlette's parser, kept from writing files, that knows whether the body was whole."""

    spool_max_size = 1 << 40  # bytes from which on a file would go to the disk: never, as bodies are limited
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def read(request: Request, limits: Limits) -> list[Upload]:
    """Every file of a request, in its order.

    Raises:
        Refused: for a body that is too large, too slow, not whole, of the wrong type, or without a file.
        ClientDisconnect: if the client is gone.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _files(request, limits)
    if kind.startswith(RAW):
        data = b"".join([chunk async for chunk in chunks(request, limits)])
        if not data:
            raise Refused(400, "the body is empty", HOW)
        return [Upload(None, data)]
    raise Refused(415, f"the content type is {kind[:80] or 'missing'!r}", HOW, unread=True)


async def chunks(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece, until it is whole or a limit is reached."""
    loop = asyncio.get_running_loop()
    end, total, more = loop.time() + limits.body_seconds, 0, True
    if _announced(request) > limits.body_bytes:
        raise _too_large(limits)
    while more:
        try:
            message = await asyncio.wait_for(request.receive(), min(limits.stall_seconds, end - loop.time()))
        except asyncio.TimeoutError:
            raise Refused(408, f"the body did not arrive in time, after {total:,} bytes") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        total += len(chunk)
        if total > limits.body_bytes:
            raise _too_large(limits)
        yield chunk


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the body is larger than {limits.body_bytes / 2**20:g} MB", "send fewer files", unread=True)


async def _files(request: Request, limits: Limits) -> list[Upload]:
    async def whole() -> AsyncGenerator[bytes, None]:
        async for chunk in chunks(request, limits):
            yield chunk
        if not parser.complete:  # the parser itself would leave out what is missing
            raise Refused(400, "the form ends before its last boundary: it was cut short")

    parser = InMemory(request.headers, whole(), max_files=limits.files, max_fields=limits.fields)
    try:
        form = await parser.parse()
    except MultiPartException as e:
        raise Refused(400, f"the form cannot be read: {e.message}", unread=True) from e
    except (ValueError, KeyError, LookupError) as e:  # of headers inside the form that are not what they should be
        raise Refused(400, f"the form cannot be read: {type(e).__name__}", unread=True) from e
    try:
        parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        found = [Upload(part.filename or "", await part.read()) for part in parts]
    finally:
        await form.close()
    found = [upload for upload in found if upload.name or upload.data]  # a browser's empty file field
    if not found:
        raise Refused(400, "there is no file in the form", HOW)
    return found
