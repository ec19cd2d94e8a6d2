"""The figures of each class or label."""

from collections.abc import Iterable
from typing import Any

from imgclf.results import html
from imgclf.results.html import number
from imgclf.results.metrics import recall
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Content
from imgclf.results.tables import images, training_columns, worst_classes, worst_labels

MOST_ROWS = 300


def section(content: Content) -> str:
    """A row for each class or label; of very many the worst, as a page of thousands of rows tells nobody anything."""
    if content.evaluation is None:
        return ""
    several, rows = content.several, content.evaluation["per_class"]
    heading, worst, made = ("Labels", worst_labels, _labels) if several else ("Classes", worst_classes, _classes)
    if len(rows) > MOST_ROWS:
        rows, heading = worst(rows, MOST_ROWS)
    return html.section(heading, pictures.figures(content, "labels") + made(rows))


def _classes(rows: Iterable[dict[str, Any]]) -> str:
    """Every class with the interval of its recall: the share of its images that were recognised."""
    rows = list(rows)
    cells, more = [], training_columns(rows)
    for row in rows:
        share = recall(row)
        between = f"{share.low:.2f}–{share.high:.2f}" if row["n"] else "–"
        precision, f1 = (number(row[key]) for key in ("precision", "f1"))
        cells.append(
            [
                row["class"],
                images(row),
                number(share.value),
                between,
                precision,
                f1,
                *(show(row) for show in more.values()),
            ]
        )
    names = ["class", "n", "recall", "95 % interval", "precision", "F1", *more]
    return html.table(names, cells, numeric=set(range(1, len(names))))


def _labels(rows: Iterable[dict[str, Any]]) -> str:
    """Every label with its threshold and its counts."""
    figures, counts = ("ap", "f1", "precision", "recall", "threshold"), ("tp", "fp", "fn", "tn")
    rows = list(rows)
    more = training_columns(rows)
    cells = [
        [row["class"], images(row), *(number(row[key]) for key in figures), *(row[key] for key in counts)]
        + [show(row) for show in more.values()]
        for row in rows
    ]
    columns = ["label", "images", "AP", "F1", "precision", "recall", "threshold", "TP", "FP", "FN", "TN", *more]
    return html.table(columns, cells, numeric=set(range(1, len(columns))))
