"""What a ``split.csv`` recorded of the files, and how they have changed since."""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgclf.data.columns import split_value
from imgclf.data.images import need_file
from imgclf.data.labels import parse
from imgclf.data.samples import Sample
from imgclf.errors import DataError

NAMES = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Recorded:
    """One row of a ``split.csv``: the image, its size in bytes and the hash of its content ("": not recorded)."""

    sample: Sample
    size: str
    digest: str


def digest(content: bytes) -> str:
    """The hash that ``split.csv`` records."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read(path: Path) -> list[Recorded]:
    """The rows of a ``split.csv``.

    Raises:
        DataError: if the file cannot be read or lacks a column, or a row is on no side.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [Recorded(_sample(r, path), r.get("size") or "", r.get("hash") or "") for r in rows]
    except (OSError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"cannot read the split {path}: {e!r}", "it should have the columns path, label and split"
        ) from e


def _sample(row: Mapping[str, str], path: Path) -> Sample:
    return Sample(row["path"], parse(row["label"]), _side(row, path), row.get("group") or None)


def _side(row: Mapping[str, str], path: Path) -> str:
    """The split of a row; an image of another word would be on no side, and gone without a word."""
    where = f"{path}, image {row['path']}"
    found = split_value(row["split"], where)
    if found is None:
        raise DataError(f"{where}: '' is no split", "use train, valid or test")
    return found


def now(root: Path, recorded: Iterable[Recorded]) -> dict[str, str]:
    """The present hash of each recorded file by path; those that cannot be read are missing."""
    found = {}
    for row in recorded:
        try:
            need_file(path := root / row.sample.path)
            found[row.sample.path] = digest(path.read_bytes())
        except (OSError, ValueError):  # ValueError: a name no file can have
            continue
    return found


def describe(recorded: Iterable[Recorded], hashes: Mapping[str, str]) -> str:
    """``"3 validation files changed, 1 vanished since training"``; empty if nothing did.

    Args:
        hashes: of the files there are now, by path.
    """
    lines = []
    rows = list(recorded)
    for part, name in NAMES.items():
        own = [row for row in rows if row.sample.split == part]
        gone = sum(row.sample.path not in hashes for row in own)
        changed = sum(bool(row.digest) and hashes.get(row.sample.path, row.digest) != row.digest for row in own)
        found = [f"{n} {{}}{word}" for n, word in ((changed, "changed"), (gone, "vanished")) if n]
        if found:
            first = found[0].format(f"{name} file{'s' * (int(found[0].split()[0]) != 1)} ")
            lines.append(", ".join([first, *(text.format("") for text in found[1:])]))
    return ", ".join(lines) + " since training" if lines else ""
