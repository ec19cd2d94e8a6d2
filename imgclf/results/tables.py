"""An evaluation for a terminal."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imgclf.console import cell, table
from imgclf.results import beside
from imgclf.results.abstention import Abstention, sentence
from imgclf.results.crossfit import STILL, CrossFit
from imgclf.results.evaluate import Evaluation
from imgclf.results.lettering import NONE
from imgclf.results.metrics import FEW_OF_CLASS, Interval, recall
from imgclf.results.multilabel import MultiEvaluation

MOST_CLASSES, WORST = 20, 10
SHOWN = 5


def evaluation_tables(evaluation: Evaluation | MultiEvaluation) -> Group:
    """Headline, classes, confused pairs, top losses and warnings, an empty line between them."""
    several = isinstance(evaluation, MultiEvaluation)
    parts = [
        headline(evaluation),
        _labels(evaluation.per_class) if several else _classes(evaluation.per_class),
        _cross_fitted(evaluation.cross_fit),
        _beside(evaluation),
        None if isinstance(evaluation, MultiEvaluation) else _abstaining(evaluation.abstention),
        None if isinstance(evaluation, MultiEvaluation) else _confused(evaluation.most_confused),
        _top_losses(evaluation.top_losses),
        _warnings(evaluation.warnings),
    ]
    spaced = [piece for part in parts if part is not None for piece in (Text(""), part)]
    return Group(*spaced[1:])


def headline(evaluation: Evaluation | MultiEvaluation) -> Text:
    """``accuracy 0.941 (0.905–0.964, n=244), error rate 0.059``, and what goes with it on the lines below."""
    if isinstance(evaluation, MultiEvaluation):
        return _headline_of_several(evaluation)
    first = f"accuracy {with_interval(evaluation.accuracy)}, error rate {evaluation.error_rate:.3f}"
    lines = [f"macro F1 {with_interval(evaluation.macro_f1_interval)}"]
    asked = evaluation.top_k_accuracy
    if evaluation.top5_accuracy is not None and not (asked and asked[0] == 5):  # the same line again
        lines.append(f"top-5 accuracy {with_interval(evaluation.top5_accuracy)}")
    if evaluation.top_k_accuracy is not None:
        k, found = evaluation.top_k_accuracy
        lines.append(f"top-{k} accuracy {with_interval(found)}")
    lines.append(_calibration(evaluation))
    return Text.assemble((first, "bold"), *(f"\n{line}" for line in lines))


def _headline_of_several(evaluation: MultiEvaluation) -> Text:
    lines = [
        f"mAP {_figure(evaluation.mean_ap)}, macro F1 {_figure(evaluation.macro_f1)}, "
        f"micro F1 {_figure(evaluation.micro_f1)}",
        f"95 % interval of macro F1 {_figure(evaluation.macro_f1_interval.low)}–"
        f"{_figure(evaluation.macro_f1_interval.high)}",
        f"right label decisions {evaluation.accuracy_multi:.3f}",
        _calibration(evaluation),
    ]
    first = f"all labels right {with_interval(evaluation.accuracy)}"
    return Text.assemble((first, "bold"), *(f"\n{line}" for line in lines))


def _calibration(evaluation: Evaluation | MultiEvaluation) -> str:
    before = "" if evaluation.ece_before is None else f", {evaluation.ece_before:.3f} before calibration"
    return f"calibration error {evaluation.ece_after:.3f}{before}"


def _figure(value: float | None) -> str:
    """Three decimals, or as the console shows that there is no number."""
    return f"{value:.3f}" if value is not None and isfinite(value) else cell(None)


def with_interval(interval: Interval) -> str:
    """``0.941 (0.905–0.964, n=244)``."""
    return f"{interval.value:.3f} ({interval.low:.3f}–{interval.high:.3f}, n={interval.n})"


def _classes(rows: list[dict[str, Any]]) -> RenderableType:
    title = "Classes"
    if len(rows) > MOST_CLASSES:
        rows, title = worst_classes(rows, WORST)
    figures = [[f"{row['precision']:.3f}", _figure(recall(row).value), f"{row['f1']:.3f}"] for row in rows]
    more = training_columns(rows)
    cells = [
        [row["class"], images(row), *cells, *(show(row) for show in more.values())]
        for row, cells in zip(rows, figures, strict=True)
    ]
    names = ["class", "n", "precision", "recall", "F1", *more]
    return _right(table(title, names, cells), range(1, len(names)))


def images(row: dict[str, Any]) -> str:
    """How many images a class has, marked where its figures rest on a handful."""
    return f"few {row['n']}" if 0 < row["n"] < FEW_OF_CLASS else str(row["n"])


def worst_classes(rows: Sequence[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], str]:
    """The ``most`` classes with the lowest F1, and a title that says so."""
    # A class without images has no F1 to be judged by.
    judged = sorted((row for row in rows if row["n"]), key=lambda row: row["f1"])[:most]
    return judged, f"The {len(judged)} worst of {len(rows)} classes by F1"


def worst_labels(rows: Sequence[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], str]:
    """The ``most`` labels with the lowest average precision, and a title that says so."""
    judged = sorted((row for row in rows if row["ap"] is not None), key=lambda row: row["ap"])[:most]
    return judged, f"The {len(judged)} worst of {len(rows)} labels by AP"


def training_columns(rows: Sequence[dict[str, Any]]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """Columns about each class in training, by name, where they are known: its images, and its weight."""
    known: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
        "n_train": ("trained on", lambda row: f"{row['n_train']:,}"),
        "weight": ("weight", lambda row: f"{row['weight']:.2f}"),
    }
    return {name: show for key, (name, show) in known.items() if rows and all(key in r for r in rows)}


def _labels(rows: list[dict[str, Any]]) -> RenderableType:
    title = "Labels"
    if len(rows) > MOST_CLASSES:
        rows, title = worst_labels(rows, WORST)
    figures = [[_figure(row[key]) for key in ("ap", "f1", "precision", "recall", "threshold")] for row in rows]
    more = training_columns(rows)
    cells = [
        [row["class"], images(row), *cells, *(show(row) for show in more.values())]
        for row, cells in zip(rows, figures, strict=True)
    ]
    columns = ["label", "n", "AP", "F1", "precision", "recall", "threshold", *more]
    return _right(table(title, columns, cells), range(1, len(columns)))


def _cross_fitted(found: CrossFit | None) -> RenderableType | None:
    """The figures as reported beside those without the luck of having been fitted on the same images."""
    if found is None:
        return None
    rows = [
        [name.replace("_", " "), _plain_or_interval(found.reported[name]), _plain_or_interval(honest)]
        for name, honest in found.cross_fitted.items()
    ]
    made = table(
        "Cross-fitted: fitted on one half, judged on the other", ["figure", "as reported", "cross-fitted"], rows
    )
    temperatures = " and ".join(f"{t:.3f}" for t in found.temperatures)
    return Group(made, Text(f"{STILL} Temperatures: {temperatures}."))


def _beside(evaluation: Evaluation | MultiEvaluation) -> RenderableType | None:
    """What the model has to beat, whether more images would help, and images unlike its own."""
    lines = [
        *beside.baselines(evaluation.baselines),
        *beside.more_images(evaluation.learning_curve),
        *beside.unlike_images(evaluation.unlike),
    ]
    return Group(*map(Text, lines)) if lines else None


def _plain_or_interval(figure: Interval | float) -> str:
    return with_interval(figure) if isinstance(figure, Interval) else _figure(figure)


def _abstaining(found: Abstention | None) -> RenderableType | None:
    if found is None:
        return None
    where = (
        "chosen on these images" if found.chosen_here else f"chosen on the validation images for {found.choice.rate:g}"
    )
    which = (
        f"--abstain {found.rate:g}, {where}" if found.reached else f"--abstain {found.rate:g} is out of reach; the best"
    )
    more = f"; {found.unlike} of these answers withheld, as the images are unlike those known" if found.unlike else ""
    return Text(f"{which}: {sentence(found.choice)}{more}")


def _confused(pairs: list[dict[str, Any]]) -> RenderableType | None:
    if not pairs:
        return None
    rows = [[pair["n"], pair["truth"], pair["predicted"]] for pair in pairs[:SHOWN]]
    return _right(table("Most confused", ["times", "label", "prediction"], rows), (0,))


def _top_losses(found: list[dict[str, Any]]) -> RenderableType | None:
    """Names and path below each other: side by side they would be cut to pieces in a narrow window."""
    if not found:
        return None
    rows = [
        [f"{r['loss']:.2f}", f"{r['prob']:.3f}", f"{r['label'] or NONE} → {r['pred'] or NONE}\n{r['path']}"]
        for r in found[:SHOWN]
    ]
    return _right(table("Top losses", ["loss", "prob", "label → prediction, image"], rows), (0, 1))


def _warnings(warnings: list[str]) -> RenderableType | None:
    lines = [Text.assemble(("warning: ", "bold yellow"), warning) for warning in warnings]
    return Group(*lines) if lines else None


def _right(made: Table, columns: Sequence[int]) -> Table:
    """Columns of figures, though formatted as text, flush right so that their digits stand under each other."""
    for i in columns:
        made.columns[i].justify = "right"
    return made
