"""Why a file cannot be used as an image, in words that say what to do about it."""

import re

from PIL import Image, UnidentifiedImageError

from imgclf.data.images import MAX_PIXELS

EMPTY = "empty file"
NO_MEMORY = "not enough memory to decode it"  # of this moment, not of the file: never cached
UNKNOWN = "not an image, or of a kind Pillow cannot read"
HEAD_BYTES = 1024
# What a file that is no image begins with. Matched in order, on the first bytes, white space at the front removed.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "damaged: begins as a JPEG, but its header is not whole"),
    (rb"\x89PNG", "damaged: begins as a PNG, but its header is not whole"),
    (rb"GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*", "damaged: begins as an image, but its header is not whole"),
    (rb"\0\x05\x16\x07", "not an image but the companion file of one, as macOS makes them (._NAME)"),
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "not an image Pillow reads but a HEIC photo: convert it to JPEG"),
    (rb"....ftyp(avif|avis)", "not an image this Pillow reads but AVIF: install a Pillow with AVIF, or convert it"),
    (rb"....ftyp", "not an image but a video"),
    (rb"version https://git-lfs", "not an image but a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (rb"%PDF", "not an image but a PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "not an image of pixels but PostScript (EPS): convert it to PNG"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "not an image but an archive"),
    (
        rb"(<\?xml.*)?(<!--.*-->\s*)?(<!DOCTYPE svg.*)?<svg",
        "not an image of pixels but an SVG drawing: convert it to PNG",
    ),
    (rb"<!doctype html|<html|<head|<body", "not an image but an HTML page, as a failed download leaves one"),
)


def explain(error: Exception, head: bytes) -> str:
    """The reason in one line.

    Args:
        error: What decoding raised.
        head: The first ``HEAD_BYTES`` of the file.
    """
    message = str(error).split("\n")[0] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return _foreign(head)
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", message)
        return f"{int(pixels.group()) if pixels else 0:,} pixels: more than the limit of {MAX_PIXELS:,}"
    if "truncated" in message.lower() or isinstance(error, EOFError):
        return f"truncated: the file ends too early ({message})"
    return message if message.startswith("damaged") or "limit" in message else f"damaged: {message}"


def _foreign(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, reason in FOREIGN:
        if re.match(pattern, head, re.DOTALL) or re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            return reason
    return "not an image but text" if _is_text(head) else UNKNOWN


def _is_text(head: bytes) -> bool:
    """Whether the bytes are UTF-8 without control characters; the last character may be cut."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 3:
            return False
        text = head[: e.start].decode("utf-8")
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)
