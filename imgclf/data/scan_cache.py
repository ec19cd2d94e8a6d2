"""What the check found out about each file, kept in the user's cache folder so that the next check costs nothing.

One SQLite file. A row is found by the hash of the file's path, and holds as long as its size, its times of change and
our way of checking stay the same. There are two times: that of the content, which programs set as they like (`cp -p`,
`rsync -t`, an archive), so that another image may have the old one; and the system's own of any change, which nobody
can set. (On Windows the second is that of the file's making.) Several processes may use it at once. Whatever is wrong
with it, the check itself never fails: a damaged file is thrown away, a locked or read-only one is done without.
"""

import base64
import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import PIL

from imgclf.data import reasons
from imgclf.data.cache import cache_folder
from imgclf.data.images import MAX_PIXELS
from imgclf.data.inspection import FileCheck, Look

NAME = "checks.sqlite"
# What a check finds depends on these; raise the number whenever the code behind it changes what is found.
VERSION = f"2/pillow {PIL.__version__}/{MAX_PIXELS}"
MAX_ROWS = 300_000  # about 250 MB; the rows unused for longest go first
PATIENCE = 5.0  # seconds to wait for another process
TABLE = """create table if not exists files (
    key blob primary key, size integer, changed integer, used integer, found text) without rowid"""
DAY = 86_400

Stamp = tuple[bytes, int, int]  # key, size in bytes, a number for its times of change


def stamp(path: Path) -> Stamp | None:
    """What identifies the present state of a file; None if there is none."""
    try:
        facts = path.stat()
    except (OSError, ValueError):  # a name no file can have
        return None
    name = os.fsencode(path.absolute())
    key = hashlib.blake2b(VERSION.encode() + b"\0" + name, digest_size=16).digest()
    times = f"{facts.st_mtime_ns}/{facts.st_ctime_ns}".encode()
    changed = int.from_bytes(hashlib.blake2b(times, digest_size=8).digest(), "little", signed=True)
    return key, facts.st_size, changed


class ScanCache:
    """The cache for the files under ``root``, or one that remembers nothing where it cannot be had."""

    def __init__(self, root: Path) -> None:
        folder = cache_folder()
        self.file = folder / NAME
        self.usable = not folder.resolve().is_relative_to(root.resolve())  # never into the data folder

    def get(self, stamps: Sequence[Stamp | None]) -> list[FileCheck | None]:
        """What is known, in the order asked; the path of each is empty."""
        wanted = {s[0]: s for s in stamps if s}
        known: dict[bytes, FileCheck] = {}
        with self._open() as db:
            if db is not None:
                for part in _parts(list(wanted)):
                    marks = ",".join("?" * len(part))
                    rows = db.execute(f"select key, size, changed, found from files where key in ({marks})", part)
                    for key, size, changed, found in rows:
                        check = _unpack(found) if (key, size, changed) == wanted[key] else None
                        if check is not None:
                            known[key] = check
                _touch(db, list(known))
        return [known.get(s[0]) if s else None for s in stamps]

    def put(self, found: Iterable[tuple[Stamp | None, FileCheck]]) -> None:
        """Remember what was found. Files that could not be read just now are not remembered."""
        rows = [
            (*s, _today(), _pack(check))
            for s, check in found
            if s and check.digest and check.reason != reasons.NO_MEMORY
        ]
        with self._open() as db:
            if db is not None and rows:
                db.executemany("insert or replace into files values (?, ?, ?, ?, ?)", rows)
                _prune(db)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """A transaction; None where there is no cache. Errors inside end it, and with it the use of the cache."""
        db = self._connect() if self.usable else None
        try:
            yield db
            if db is not None:
                db.commit()
        except sqlite3.Error as e:
            self.usable = False
            if _damaged(e):
                with contextlib.suppress(OSError):
                    self.file.unlink()
        finally:
            if db is not None:
                db.close()

    def _connect(self) -> sqlite3.Connection | None:
        for _ in range(2):  # once more after a damaged file is gone
            db = None
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                db = sqlite3.connect(self.file, timeout=PATIENCE)
                db.execute(TABLE)
                db.execute("select key, size, changed, used, found from files limit 1")
                return db
            except (sqlite3.Error, OSError) as e:
                if db is not None:
                    db.close()
                if not isinstance(e, sqlite3.DatabaseError) or not _damaged(e):
                    break
                with contextlib.suppress(OSError):
                    self.file.unlink()
        self.usable = False
        return None


def _damaged(error: sqlite3.Error) -> bool:
    """Whether the file is no database, or not ours; being locked, full or read-only are other matters."""
    return not isinstance(error, sqlite3.OperationalError) or "no such column" in str(error)


def _parts(keys: list[bytes], size: int = 500) -> Iterator[list[bytes]]:
    for i in range(0, len(keys), size):
        yield keys[i : i + size]


def _today() -> int:
    return int(time.time()) // DAY


def _touch(db: sqlite3.Connection, keys: list[bytes]) -> None:
    """Note the day of use, once a day: a second run of the same day only reads."""
    for part in _parts(keys):
        marks = ",".join("?" * len(part))
        old = db.execute(f"select key from files where key in ({marks}) and used < ?", [*part, _today()]).fetchall()
        db.executemany("update files set used = ? where key = ?", [(_today(), key) for (key,) in old])


def _prune(db: sqlite3.Connection) -> None:
    extra = db.execute("select count(*) from files").fetchone()[0] - MAX_ROWS
    if extra > 0:
        db.execute("delete from files where key in (select key from files order by used limit ?)", [extra])


def _pack(check: FileCheck) -> str:
    look = asdict(check.look) if check.look else None
    if look:
        look |= {name: base64.b64encode(look[name]).decode() for name in ("hash", "small")}
    return json.dumps([check.reason, check.size, check.digest, look])


def _unpack(text: str) -> FileCheck | None:
    """What ``_pack`` has packed; None for anything else."""
    try:
        reason, size, digest, look = json.loads(text)
        if look:
            look |= {name: base64.b64decode(look[name]) for name in ("hash", "small")}
        return FileCheck("", reason, size, digest, Look(**look) if look else None)
    except (ValueError, TypeError, KeyError):
        return None
