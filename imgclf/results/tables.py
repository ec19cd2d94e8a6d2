"""An evaluation for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgclf.console import table
from imgclf.results.evaluate import Evaluation
from imgclf.results.metrics import Interval

MOST_CLASSES, WORST = 20, 10
SHOWN = 5


def evaluation_tables(evaluation: Evaluation) -> Group:
    """Headline, classes, confused pairs, top losses and warnings, an empty line between them."""
    parts = [
        headline(evaluation),
        _classes(evaluation.per_class),
        _confused(evaluation.most_confused),
        _top_losses(evaluation.top_losses),
        _warnings(evaluation.warnings),
    ]
    spaced = [piece for part in parts if part is not None for piece in (Text(""), part)]
    return Group(*spaced[1:])


def headline(evaluation: Evaluation) -> Text:
    """``accuracy 0.941 (0.905–0.964, n=244), error rate 0.059``, and what goes with it on the lines below."""
    first = f"accuracy {with_interval(evaluation.accuracy)}, error rate {evaluation.error_rate:.3f}"
    lines = [f"macro F1 {evaluation.macro_f1:.3f}"]
    if evaluation.top5_accuracy is not None:
        lines.append(f"top-5 accuracy {with_interval(evaluation.top5_accuracy)}")
    before = "" if evaluation.ece_before is None else f", {evaluation.ece_before:.3f} before calibration"
    lines.append(f"calibration error {evaluation.ece_after:.3f}{before}")
    return Text.assemble((first, "bold"), *(f"\n{line}" for line in lines))


def with_interval(interval: Interval) -> str:
    """``0.941 (0.905–0.964, n=244)``."""
    return f"{interval.value:.3f} ({interval.low:.3f}–{interval.high:.3f}, n={interval.n})"


def _classes(rows: list[dict[str, Any]]) -> RenderableType:
    title = "Classes"
    if len(rows) > MOST_CLASSES:
        # A class without images has no F1 to be judged by.
        judged = sorted((row for row in rows if row["n"]), key=lambda row: row["f1"])[:WORST]
        title = f"The {len(judged)} worst of {len(rows)} classes by F1"
        rows = judged
    figures = [[f"{row[key]:.3f}" for key in ("precision", "recall", "f1")] for row in rows]
    cells = [[row["class"], row["n"], *cells] for row, cells in zip(rows, figures, strict=True)]
    return _right(table(title, ["class", "n", "precision", "recall", "F1"], cells), (1, 2, 3, 4))


def _confused(pairs: list[dict[str, Any]]) -> RenderableType | None:
    if not pairs:
        return None
    rows = [[pair["n"], pair["truth"], pair["predicted"]] for pair in pairs[:SHOWN]]
    return _right(table("Most confused", ["times", "label", "prediction"], rows), (0,))


def _top_losses(found: list[dict[str, Any]]) -> RenderableType | None:
    """Names and path below each other: side by side they would be cut to pieces in a narrow window."""
    if not found:
        return None
    rows = [[f"{r['loss']:.2f}", f"{r['prob']:.3f}", f"{r['label']} → {r['pred']}\n{r['path']}"] for r in found[:SHOWN]]
    return _right(table("Top losses", ["loss", "prob", "label → prediction, image"], rows), (0, 1))


def _warnings(warnings: list[str]) -> RenderableType | None:
    lines = [Text.assemble(("warning: ", "bold yellow"), warning) for warning in warnings]
    return Group(*lines) if lines else None


def _right(made: Table, columns: Sequence[int]) -> Table:
    """Columns of figures, though formatted as text, flush right so that their digits stand under each other."""
    for i in columns:
        made.columns[i].justify = "right"
    return made
