"""Corrections laid over the labels when they are read: the files stay where they are."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from imgclf.data.labels import parse
from imgclf.data.samples import Sample, Samples
from imgclf.errors import DataError, did_you_mean
from imgclf.schema import Config

COLUMNS = ("path", "action", "label")
ACTIONS = ("relabel", "drop")


def file_of(cfg: Config) -> Path | None:
    """The corrections a configuration asks for."""
    file = cfg.data.corrections
    return None if file is None else Path(file)


def apply(file: Path, samples: Samples) -> Samples:
    """Samples with the corrections of a CSV file: path, action (``relabel`` or ``drop``), label.

    Several labels are joined by ``;``, as in ``split.csv``. The number applied is added to ``layout``.

    Raises:
        DataError: for an unknown path, action or label, a path that is there twice, or a file that cannot be read.
    """
    rows = read(file)
    known, classes = {s.path for s in samples.items}, set(samples.class_counts)
    wanted: dict[str, tuple[str, ...] | None] = {}
    for number, row in enumerate(rows, 2):
        where, path, action = f"{file}, line {number}", row["path"], row["action"].strip()
        if path not in known:
            near = did_you_mean(path, known) if len(known) <= 10_000 else ""
            raise DataError(f"{where}: no image '{path}'.{near}", f"paths are relative to {samples.root}")
        if action not in ACTIONS:
            raise DataError(f"{where}: no action '{action}'.{did_you_mean(action, ACTIONS)}", "relabel or drop")
        if path in wanted:
            raise DataError(f"{where}: '{path}' is corrected twice")
        wanted[path] = _labels(row["label"], samples, classes, where) if action == "relabel" else None
    counts = Counter("dropped" if new is None else "relabelled" for new in wanted.values())
    said = ", ".join(f"{counts[k]} {k}" for k in ("relabelled", "dropped") if counts[k]) or "none"
    items = tuple(s for s in (_corrected(s, wanted) for s in samples.items) if s is not None)
    layout = f"{samples.layout}; {len(wanted)} corrections of {file.name} ({said})"
    return replace(samples, items=items, layout=layout, corrections=len(wanted))


def _corrected(sample: Sample, wanted: dict[str, tuple[str, ...] | None]) -> Sample | None:
    labels = wanted.get(sample.path, sample.labels)
    return None if labels is None else replace(sample, labels=labels)


def _labels(cell: str, samples: Samples, classes: set[str], where: str) -> tuple[str, ...]:
    labels = tuple(sorted(set(parse(cell)))) if samples.multi_label else (cell,)
    for label in labels:
        if label not in classes:
            raise DataError(
                f"{where}: no class '{label}'.{did_you_mean(label, classes)}", "relabel to a class there is"
            )
    return labels


def read(file: Path) -> list[dict[str, str]]:
    """The rows, with ``COLUMNS`` and whatever else is there; raises DataError for a file that is no such table."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="", restkey="rest")
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"cannot read the corrections {file}: {e}", "data.corrections names a CSV file") from e
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(f"{file} has no column '{missing[0]}'", f"its columns should be {', '.join(COLUMNS)}")
    return rows
