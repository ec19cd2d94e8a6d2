"""Answers on stdout as a table, CSV, JSON lines or one JSON document, one after another in constant memory."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from imgclf.console import Terminal, table, to_json

if TYPE_CHECKING:
    from imgclf.shipping.inference import Predictor

PAGE = 1000  # rows of a table, whose columns are as wide as their widest cell
IN_MEMORY = 8 << 20  # bytes of a JSON document; of a longer one the rest waits in a temporary file

Row = dict[str, Any]


def write(predictor: "Predictor", rows: Iterable[Row], form: str, terminal: Terminal) -> None:
    """Write the rows as they come; a JSON document at the end, whole or not at all.

    Args:
        form: ``table``, ``csv``, ``jsonl`` or ``json``.
    """
    form = "json" if terminal.json_mode else form
    writers: dict[str, Callable[[Predictor, Iterable[Row], Terminal], None]] = {
        "table": _table, "csv": _csv, "jsonl": _lines, "json": _document
    }  # fmt: skip
    writers[form](predictor, rows, terminal)


def _lines(predictor: "Predictor", rows: Iterable[Row], terminal: Terminal) -> None:
    for row in rows:
        sys.stdout.write(to_json(row) + "\n")
        sys.stdout.flush()


def _document(predictor: "Predictor", rows: Iterable[Row], terminal: Terminal) -> None:
    # Not to stdout at once: what goes wrong on the way is to be the only document there.
    with SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", errors="surrogatepass", newline="") as spool:
        for i, row in enumerate(rows):
            spool.write((", " if i else "") + to_json(row))
        spool.seek(0)
        sys.stdout.write(f'{{"model": {to_json(predictor.name)}, "predictions": [')
        while part := spool.read(1 << 16):
            sys.stdout.write(part)
        sys.stdout.write("]}\n")


def _csv(predictor: "Predictor", rows: Iterable[Row], terminal: Terminal) -> None:
    from imgclf.data.labels import join

    writer = csv.writer(sys.stdout, lineterminator="\n")
    several = predictor.task == "multi"
    known = ["unlike", "distance"] if predictor.familiar else []
    writer.writerow(["path", *(["labels"] if several else ["label", "prob"]), *known, "error", *predictor.classes])
    for row in rows:
        probs = row.get("probs", {})
        found = [join(row.get("labels", ()))] if several else [row.get("label"), row.get("prob")]
        found += [row.get(key) for key in known]
        writer.writerow([row["path"], *found, row.get("error"), *(probs.get(name) for name in predictor.classes)])
        sys.stdout.flush()


def _table(predictor: "Predictor", rows: Iterable[Row], terminal: Terminal) -> None:
    several = predictor.task == "multi"
    heads = ["file", "labels", "then"] if several else ["file", "label", "prob", "then"]
    cells = ([*(_cells_of_several(row) if several else _cells(row)), _mark(row)] for row in rows)
    for page in _pages(cells):
        marked = any(row[-1] for row in page)
        shown = page if marked else [row[:-1] for row in page]
        terminal.result(None, table(None, [*heads, ""] if marked else heads, shown))


def _pages(cells: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while page := list(islice(cells, PAGE)):
        yield page


def _mark(row: Row) -> str:
    return f"unlike the training images ({row['distance']:.2f})" if row.get("unlike") else ""


def _cells(row: Row) -> list[Any]:
    if "error" in row:
        return [row["path"], f"unreadable: {row['error']}", "", ""]
    others = list(row["probs"].items())
    return [
        row["path"],
        row["label"],
        f"{row['prob']:.3f}",
        _shown(others[:2] if row.get("abstained") else others[1:3]),
    ]


def _cells_of_several(row: Row) -> list[Any]:
    if "error" in row:
        return [row["path"], f"unreadable: {row['error']}", ""]
    found = [(name, row["probs"].get(name)) for name in row["labels"]]
    others = [(name, p) for name, p in row["probs"].items() if name not in row["labels"]]
    return [row["path"], _shown(found) or "none", _shown(others[:2])]


def _shown(named: list[tuple[str, float | None]]) -> str:
    """Names with their probabilities, as far as `--top-k` left them."""
    return ", ".join(name if p is None else f"{name} {p:.3f}" for name, p in named)
