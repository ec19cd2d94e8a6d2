"""Decoded images in the user's cache folder: a file each, found by the content of the image file and by its form.

A file is written under a temporary name and renamed; one that is torn, or none of ours, counts as missing and is
written again. Several processes and runs may use the folder at once. Whatever is wrong with it, training goes on.
"""

import contextlib
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import features

from imgclf import runs
from imgclf.data.block import Block
from imgclf.data.cache import cache_folder
from imgclf.data.forms import File, Form

NAME = "images"
# What the pixels depend on besides content and form; raise the number when the code that makes them changes.
VERSION = f"1/pillow {PIL.__version__}/{features.version('jpg')}"
HEAD = struct.Struct("<8sIII")  # magic, height, width, checksum
MAGIC = b"imgclf\0\1"
DAY = 86_400


def folder() -> Path:
    """Where the files are."""
    return cache_folder() / NAME


class Disk:
    """The files under ``where``; at most ``room`` bytes more are written, by all processes together."""

    def __init__(self, where: Path, room: int, shared: bool) -> None:
        self.where = where
        self.state = Block(16, shared)  # bytes left, and the number of an error that ended the writing
        self._state[0] = room

    @property
    def _state(self) -> np.ndarray:
        return self.state.view(np.int64, 0, 2)

    def get(self, file: File, form: Form) -> np.ndarray | None:
        """The pixels (H, W, 3), if they are there, whole."""
        try:
            content = path(self.where, file, form).read_bytes()
            magic, height, width, checksum = HEAD.unpack_from(content)
        except (OSError, struct.error):
            return None
        pixels = memoryview(content)[HEAD.size :]
        whole = magic == MAGIC and len(pixels) == 3 * height * width and zlib.crc32(pixels) == checksum
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3) if whole else None

    def put(self, file: File, form: Form, pixels: np.ndarray) -> None:
        """Keep them, if there is room; the first error is the end of it."""
        state, content = self._state, np.ascontiguousarray(pixels).tobytes()
        if state[1] or state[0] < HEAD.size + len(content):
            return
        head = HEAD.pack(MAGIC, *pixels.shape[:2], zlib.crc32(content))
        try:
            runs.atomic_write(path(self.where, file, form), lambda p: p.write_bytes(head + content))
            state[0] -= HEAD.size + len(content)  # of several processes at once one may be lost: no harm
        except OSError as e:
            state[1] = e.errno or -1

    @property
    def trouble(self) -> str:
        """What has ended the writing; empty: nothing."""
        number = int(self._state[1])
        return f"{self.where} cannot be written any more ({os.strerror(number)})" if number else ""


def path(where: Path, file: File, form: Form) -> Path:
    """The file for an image in one form."""
    key = hashlib.blake2b(f"{VERSION}/{file.digest}/{form}".encode(), digest_size=16).hexdigest()
    return where / key[:2] / key


class Room(NamedTuple):
    """How many of a run's files are there; bytes missing, free for them, and removed to that end."""

    there: int
    missing: int
    free: int
    removed: int


def make_room(where: Path, own: Mapping[str, int], most: int) -> Room:
    """Remove the files unused for longest, none of one's own, until what is missing of those has room as well.

    Args:
        own: The bytes of each file that will be used.
        most: Bytes in the folder.

    Raises:
        OSError: if the folder cannot be written.
    """
    where.mkdir(parents=True, exist_ok=True)
    runs.atomic_write(where / "probe", lambda p: p.write_bytes(MAGIC)).unlink(missing_ok=True)
    there, others, total = set[str](), [], 0
    for name, size, used in _files(where):
        total += size
        if name in own:
            there.add(name)
            _touch(name, used)
        else:
            others.append((used, size, name))
    missing = sum(size for name, size in own.items() if name not in there)
    removed = 0
    for _, size, name in sorted(others):
        if total - removed + missing <= most:
            break
        with contextlib.suppress(OSError):  # another process was faster
            Path(name).unlink()
        removed += size
    return Room(len(there), missing, max(0, most - total + removed), removed)


def _files(where: Path) -> Iterable[tuple[str, int, float]]:
    """Name, bytes and time of last use of every file."""
    for entry in os.scandir(where):
        if entry.is_dir(follow_symlinks=False):
            for file in os.scandir(entry.path):
                with contextlib.suppress(OSError):
                    facts = file.stat(follow_symlinks=False)
                    yield file.path, facts.st_size, facts.st_mtime


def _touch(name: str, used: float) -> None:
    """Note the day of use, once a day."""
    if time.time() - used > DAY:
        with contextlib.suppress(OSError):
            os.utime(name)
