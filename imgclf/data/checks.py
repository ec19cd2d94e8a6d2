"""Look at every file before training does: can it be decoded, is it there twice, does it leak between splits?"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from imgclf.data import changes
from imgclf.data.images import decode
from imgclf.data.samples import Sample, Samples
from imgclf.data.split import Dataset

# A small target lets the JPEG decoder skip the fine detail, yet it reads the whole file: truncation shows.
PROBE_PIXELS = 32


@dataclass(frozen=True)
class FileCheck:
    """What one file turned out to be; ``reason`` is None for a good image."""

    path: str
    reason: str | None
    size: int
    digest: str


def inspect(root: Path, samples: Sequence[Sample], done: Callable[[], object] = lambda: None) -> list[FileCheck]:
    """Decode every file completely, in parallel, in the order given. ``done`` is called after each."""

    def one(sample: Sample) -> FileCheck:
        result = inspect_file(root / sample.path)
        done()
        return replace(result, path=sample.path)

    # Threads are enough: Pillow's decoders and hashlib release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, samples))


def inspect_file(path: Path) -> FileCheck:
    """Read, hash and decode one file."""
    try:
        content = path.read_bytes()
    except OSError as e:
        return FileCheck(str(path), e.strerror or str(e), 0, "")
    digest = changes.digest(content)
    return FileCheck(str(path), _decode_problem(path, len(content)), len(content), digest)


def _decode_problem(path: Path, size: int) -> str | None:
    if size == 0:
        return "empty file"
    try:
        decode(path, at_least=PROBE_PIXELS)
    except UnidentifiedImageError:
        return "not an image (or of a kind Pillow cannot read)"
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, MemoryError) as e:
        return str(e).split("\n")[0] or type(e).__name__
    return None


def without_bad(samples: Samples, checks: Iterable[FileCheck]) -> Samples:
    """The samples whose file can be decoded."""
    bad = {c.path for c in checks if c.reason}
    return replace(samples, items=tuple(s for s in samples.items if s.path not in bad))


def same_content(checks: Iterable[FileCheck]) -> list[list[str]]:
    """Groups of two or more files with the same bytes."""
    groups: dict[str, list[str]] = defaultdict(list)
    for check in checks:
        if check.digest and not check.reason:
            groups[check.digest].append(check.path)
    return [sorted(g) for g in groups.values() if len(g) > 1]


def leaks(dataset: Dataset, groups: Iterable[list[str]]) -> list[dict[str, str]]:
    """Pairs of equal images on both sides of the split."""
    side = {s.path: s.split for part in (dataset.train, dataset.valid, dataset.test) for s in part}
    found = []
    for group in groups:
        train = [p for p in group if side.get(p) == "train"]
        held = [p for p in group if side.get(p) in ("valid", "test")]
        found += [{"train": a, "valid": b, "kind": "exact"} for a, b in product(train, held)]
    return found


def conflicts(samples: Samples, groups: Iterable[list[str]]) -> list[list[str]]:
    """Groups of equal images with more than one label."""
    labels = {s.path: frozenset(s.labels) for s in samples.items}
    return [g for g in groups if len({labels[p] for p in g if p in labels}) > 1]


def fingerprint(checks: Iterable[FileCheck]) -> str:
    """One hash over names and contents of all images, whatever their order."""
    lines = sorted(f"{c.path}\0{c.digest}" for c in checks)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def report(samples: Samples, dataset: Dataset | None, checks: Sequence[FileCheck]) -> dict[str, Any]:
    """The findings as `data check` gives them."""
    groups = same_content(checks)
    warnings = [f"class '{name}' has {n} image{'s' * (n > 1)}" for name, n in samples.class_counts.items() if n < 5]
    if dataset and dataset.left_out:
        warnings.append(left_out_note(dataset))
    return {
        "n_images": len(samples.items),
        "classes": samples.class_counts,
        "bad": [{"path": c.path, "reason": c.reason} for c in checks if c.reason],
        "duplicates": groups,
        "leaks": leaks(dataset, groups) if dataset else [],
        "conflicts": conflicts(samples, groups),
        "warnings": warnings,
        "layout": samples.layout,
        "ignored": list(samples.ignored),
    }


def left_out_note(dataset: Dataset) -> str:
    """Which validation or test images cannot be used, and why."""
    names = sorted({label for s in dataset.left_out for label in s.labels})
    shown = ", ".join(f"'{n}'" for n in names[:5]) + (" …" if len(names) > 5 else "")
    return f"{len(dataset.left_out)} validation or test images are left out: no training image of {shown}"
