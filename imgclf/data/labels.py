"""How a table names an image's labels: one a cell, several a cell, or a column for each."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imgclf.data import columns
from imgclf.errors import DataError, did_you_mean
from imgclf.schema import Config, DataConfig

ONE_A_CELL = "none"  # as data.label_delim: never split a cell
DELIMITERS = ("|", ";", ",", " ")
SEVERAL_COLUMNS = ("labels", "tags")
MARKS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
SEPARATOR = ";"  # of our own files


@dataclass(frozen=True)
class Labels:
    """The labels of each row, and how they were read (for the user)."""

    of_row: list[tuple[str, ...]]
    multi_label: bool
    how: str


def read(cfg: Config, rows: Any, used: Iterable[str | None]) -> Labels:
    """The labels of a table's rows, a pandas ``DataFrame`` of strings.

    Args:
        used: Columns that are something else: images, splits.

    Raises:
        DataError: if the label column, or a named column of marks, is missing or holds something else.
    """
    named, wanted, delimiter = cfg.data.label_columns, cfg.data.label_column, cfg.data.label_delim
    if named:
        return _from_marks(rows, _need_marks(rows, named), multi_label=True)
    default = DataConfig.model_fields["label_column"].default
    if wanted == default and columns.find(rows, wanted, columns.LABEL_COLUMNS) is None:
        marks = [c for c in rows.columns if c not in set(used) and _holds_marks(rows[c])]
        if len(marks) > 1:
            # One mark in every row is how one-hot tables write a single label.
            single = all(list(row).count(True) == 1 for row in _marks(rows, marks))
            return _from_marks(rows, marks, multi_label=not single)
    column = columns.need(rows, wanted, columns.LABEL_COLUMNS, "data.label_column")
    cells = [str(cell).strip() for cell in rows[column]]
    if delimiter is None and column.lower() in SEVERAL_COLUMNS:
        delimiter = recognise_delimiter(cells)
    if delimiter in (None, ONE_A_CELL):
        return Labels([(cell,) if cell else () for cell in cells], False, f"labels '{column}'")
    how = f"labels '{column}' (several a cell, split at {delimiter!r}; data.label_delim)"
    return Labels([split_cell(cell, str(delimiter)) for cell in cells], True, how)


def recognise_delimiter(cells: Iterable[str]) -> str | None:
    """What separates several labels in a cell; None: each cell is one label.

    Names with a space or a comma in them must stay whole ("golden retriever"). Several labels a cell show themselves in
    that most names recur in other combinations, and that some also stand alone.
    """
    distinct = sorted({cell for cell in cells if cell})
    for delimiter in DELIMITERS:
        parts = {cell: split_cell(cell, delimiter) for cell in distinct}
        several = [names for names in parts.values() if len(names) > 1]
        alone = {names[0] for names in parts.values() if len(names) == 1}
        uses = Counter(name for names in parts.values() for name in names)
        joined = {name for names in several for name in names}
        recurring = sum(uses[name] > 1 for name in joined)
        if len(several) > 1 and joined & alone and recurring * 2 > len(joined):
            return delimiter
    return None


def split_cell(cell: str, delimiter: str) -> tuple[str, ...]:
    """The labels of one cell, each once, in order; any run of white space counts as one space."""
    parts = cell.split() if delimiter == " " else cell.split(delimiter)
    return tuple(sorted({part.strip() for part in parts} - {""}))


def join(labels: Iterable[str]) -> str:
    r"""Labels as one cell of our own files: joined by ``;``; a ``;`` or ``\`` inside a label has a ``\`` before it.

    >>> join(["car", "person"]), join([]), join(["a;b"])
    ('car;person', '', 'a\\;b')
    """
    return SEPARATOR.join(re.sub(r"[;\\]", r"\\\g<0>", label) for label in labels)


def parse(cell: str) -> tuple[str, ...]:
    r"""The labels ``join`` made a cell of.

    >>> parse("car;person"), parse(""), parse(r"a\;b")
    (('car', 'person'), (), ('a;b',))
    """
    return tuple(re.sub(r"\\(.)", r"\1", part, flags=re.S) for part in re.findall(r"(?:\\.|[^;])+", cell, re.S))


def _holds_marks(cells: Iterable[str]) -> bool:
    return {str(cell).strip().lower() for cell in cells} <= set(MARKS)


def _need_marks(rows: Any, named: Sequence[str]) -> list[str]:
    for name in named:
        if name not in rows.columns:
            raise DataError(
                f"the table has no column '{name}' (data.label_columns).{did_you_mean(name, rows.columns)}",
                f"its columns: {', '.join(map(str, rows.columns))}",
            )
        strange = {str(cell).strip() for cell in rows[name]} - {""}
        odd = sorted(cell for cell in strange if cell.lower() not in MARKS)
        if odd:
            raise DataError(
                f"column '{name}' (data.label_columns) holds '{odd[0]}'",
                "expected 1 or 0: the image has this label or not",
            )
    return list(named)


def _marks(rows: Any, names: Sequence[str]) -> Iterable[tuple[bool, ...]]:
    marked = [[MARKS.get(str(cell).strip().lower(), False) for cell in rows[name]] for name in names]
    return zip(*marked, strict=True)


def _from_marks(rows: Any, names: Sequence[str], multi_label: bool) -> Labels:
    found = [tuple(sorted(n for n, on in zip(names, row, strict=True) if on)) for row in _marks(rows, names)]
    shown = ", ".join(names[:3]) + (f" … ({len(names)})" if len(names) > 3 else "")
    kind = "a column for each" if multi_label else "a column for each, one marked in every row"
    return Labels(found, multi_label, f"labels {shown} ({kind}; data.label_columns)")
