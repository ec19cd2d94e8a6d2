"""The findings about a data set, put together: bad files, duplicates, leaks, conflicts, what the images are like."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from imgclf.console import some
from imgclf.data import balance, facts, leaks
from imgclf.data.alike import Alike
from imgclf.data.inspection import FileCheck
from imgclf.data.leaks import Divided
from imgclf.data.samples import Samples
from imgclf.data.split import Dataset


def without_bad(samples: Samples, checks: Iterable[FileCheck]) -> Samples:
    """The samples whose file can be decoded."""
    bad = {c.path for c in checks if c.reason}
    return replace(samples, items=tuple(s for s in samples.items if s.path not in bad))


def fingerprint(checks: Iterable[FileCheck]) -> str:
    """One hash over names and contents of all images, whatever their order."""
    lines = sorted(f"{c.path}\0{c.digest}" for c in checks)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def report(samples: Samples, divided: Divided | None, checks: Sequence[FileCheck], alike: Alike) -> dict[str, Any]:
    """The findings as `data check` gives them.

    Args:
        divided: None: the data cannot be split.
    """
    counts = samples.class_counts
    warnings = facts.warnings(counts)
    if divided and divided.dataset.left_out:
        warnings.append(left_out_note(divided.dataset))
    conflicts = leaks.conflicts(samples, alike)
    return {
        "n_images": len(samples.items),
        "classes": counts,
        "imbalance": _imbalance(counts),
        "bad": [{"path": c.path, "reason": c.reason} for c in checks if c.reason],
        "duplicates": alike.exact,
        "near_duplicates": alike.nearly,
        "leaks": leaks.find(divided.dataset, alike) if divided else [],
        "conflicts": [c["paths"] for c in conflicts],
        "conflict_details": conflicts,
        "fixed": fixed(divided) if divided else {},
        **facts.of_images(checks),
        "warnings": warnings,
        "layout": samples.layout,
        "ignored": list(samples.ignored),
    }


def _imbalance(counts: Mapping[str, int]) -> dict[str, Any] | None:
    if not counts:
        return None
    found = balance.imbalance(counts)
    return {**vars(found), "ratio": round(found.ratio, 2)}


def fixed(divided: Divided) -> dict[str, Any]:
    """What ``data.on_leak: fix`` did."""
    return {"left_out": list(divided.dropped), "groups_kept_together": divided.kept_together}


def left_out_note(dataset: Dataset) -> str:
    """Which validation or test images cannot be used, and why."""
    names = sorted({label for s in dataset.left_out for label in s.labels})
    shown = some([f"'{name}'" for name in names])
    return f"{len(dataset.left_out)} validation or test images are left out: no training image of {shown}"
