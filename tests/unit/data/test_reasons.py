"""A file that is no image says what it is instead."""

import csv
import io

import pytest
from PIL import Image

from imgclf.data import images
from imgclf.data.images import MAX_PIXELS
from imgclf.data.inspection import inspect_file

FOREIGN = {
    b"<!DOCTYPE html><html>404</html>": "not an image but an HTML page",
    b"\xef\xbb\xbf  \n<HTML>": "not an image but an HTML page",
    b"<?xml version='1.0'?>\n<svg width='3'/>": "not an image of pixels but an SVG drawing",
    b"\x00\x05\x16\x07\x00\x02\x00\x00": "not an image but the companion file",
    b"\x00\x00\x00\x18ftypheic\x00\x00": "not an image Pillow reads but a HEIC photo",
    b"\x00\x00\x00\x18ftypisom\x00\x00": "not an image but a video",
    b"version https://git-lfs.github.com/spec/v1\noid": "Git LFS pointer",
    b"%PDF-1.7": "not an image but a PDF",
    b"PK\x03\x04abc": "not an image but an archive",
    "Grüße".encode(): "not an image but text",
    b"text cut in a letter \xc3": "not an image but text",
    b"\x01\x02\xff\xfe" * 8: "not an image, or of a kind Pillow cannot read",
    b"\xff\xd8\xff\xe0\x00\x10JFIF": "truncated",
    b"\x89PNG\r\n\x1a\n": "damaged: begins as a PNG",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_what_the_file_is_instead(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert FOREIGN[content] in inspect_file(tmp_path / "a.jpg").reason


def encoded(kind: str, **more: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((200, 150), 60).save(stream, kind, **more)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_cut_file_is_truncated(tmp_path, kind):
    (tmp_path / "a").write_bytes(encoded(kind)[:-900])
    assert inspect_file(tmp_path / "a").reason.startswith("truncated: the file ends too early")


def test_a_wrong_checksum_is_damage(tmp_path):
    content = bytearray(encoded("PNG"))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    assert inspect_file(tmp_path / "a.png").reason.startswith("damaged: ")


def test_a_bomb_names_its_pixels_and_the_limit(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert inspect_file(tmp_path / "a.png").reason == f"30,000 pixels: more than the limit of {MAX_PIXELS:,}"


def test_out_of_memory_is_said_and_is_no_crash(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("imgclf.data.inspection.decode", fail)
    assert inspect_file(tmp_path / "a.png").reason == "not enough memory to decode it"


REASONS = {
    "zero-byte.jpg": "empty file",
    "truncated-half.jpg": "truncated",
    "truncated-last-2k.jpg": "truncated",
    "truncated-half.png": "truncated",
    "header-only.jpg": "begins as a JPEG",
    "bad-crc.png": "damaged",
    "text.jpg": "but text",
    "page-404.jpg": "HTML page",
    "vector.jpg": "SVG drawing",
    "random-bytes.png": "not an image",
    "webp-truncated.webp": "damaged",
    "._photo.jpg": "companion file",
    "bomb-20000x20000.png": f"400,000,000 pixels: more than the limit of {MAX_PIXELS:,}",
}


@pytest.mark.real
def test_every_file_of_the_shared_pack_gets_the_verdict_of_its_manifest(odd_images):
    rows = list(csv.DictReader((odd_images / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 79
    wrong = []
    for row in rows:
        found, path = inspect_file(odd_images / row["fname"]), row["fname"]
        name = path.split("/")[1]
        if row["expected"] == "unreadable":
            if not found.reason or REASONS[name] not in found.reason:
                wrong.append((path, found.reason))
            continue
        if found.look is None:
            if row["format"] in images._built() or "install a Pillow with" not in str(found.reason):  # older: no AVIF
                wrong.append((path, found.reason))
            continue
        mode = row["mode"] if {found.look.mode, row["mode"]} == {"I", "I;16"} else found.look.mode  # older: "I"
        seen = (found.look.format, mode, str(found.look.frames))
        if seen != (row["format"], row["mode"], row["frames"]):
            wrong.append((path, seen))
    assert wrong == []
