"""One HTML page about a run: pictures inside, no script, nothing fetched, for phones and the dark too."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from pathlib import Path
from string import Template
from typing import Any

from imgclf.console import cell
from imgclf.results.lettering import NONE
from imgclf.results.metrics import wilson
from imgclf.results.tables import images, training_columns, worst_classes, worst_labels
from imgclf.runs import write_text

PAIRS = 15  # most confused pairs listed
MOST_ROWS = 300  # of the table of classes
CAPTIONS = {
    "history": "Losses and metrics over the epochs",
    "confusion": "Which class was taken for which",
    "labels": "How well each label is found",
    "reliability": "Is it right as often as it says?",
    "risk_coverage": "How many answers are wrong if the model may say 'I don't know'",
    "top_losses": "The images with the highest loss",
    "lr_find": "Learning-rate finder",
    "lr_find_unfrozen": "Learning-rate finder, all layers training, after the frozen phase",
}

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --card: #f3f5f7;
  --line: #d5dae0; --accent: #0072b2; --alert: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --page: #14171b;
  --card: #1f242a; --line: #353c45; --accent: #56b4e9; --alert: #3a2f10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, td, dd, figcaption, .warnings { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .2rem;
  border-bottom: 2px solid var(--accent); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(45%, 16rem), 1fr)); gap: .75rem;
  padding: 0; }
.figures div, dl.facts { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.warnings { background: var(--alert); border-left: .3rem solid #e69f00; border-radius: .25rem;
  padding: .5rem 1rem; }
.warnings ul { margin: .25rem 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  min-width: 7rem; }
th { color: var(--soft); font-weight: 600; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal;
  white-space: nowrap; min-width: 0; }
figure { margin: 1rem 0; background: #ffffff; color: #1b1f24; padding: .75rem;
  border: 1px solid var(--line); border-radius: .5rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { color: #57606a; font-size: .85rem; margin-bottom: .5rem; }
pre { background: var(--card); padding: .75rem 1rem; border-radius: .5rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""


def write_report(
    path: Path,
    *,
    title: str,
    facts: list[tuple[str, str]],
    evaluation: dict[str, Any] | None,
    history: list[dict[str, Any]],
    plots: list[Path],
    warnings: list[str],
    command: str,
) -> Path:
    """Write the page.

    Args:
        facts: What was trained on what: names and values, in the order shown.
        evaluation: ``to_dict()`` of an ``Evaluation`` or ``MultiEvaluation``; None leaves its sections out. Its
            warnings are shown too.
        history: Rows of ``history.csv``.
        plots: Pictures in the order shown, as they are named by this package; missing ones are passed over.
        warnings: What the reader must know first.
        command: Repeats the run.
    """
    notes = list(dict.fromkeys([*warnings, *(evaluation or {}).get("warnings", [])]))
    sections = [
        _figures(evaluation) if evaluation else "",
        _warnings(notes),
        _section("The run", _facts(facts)),
        _section("Pictures", "\n".join(_picture(plot) for plot in plots if plot.is_file())),
        _evaluation(evaluation) if evaluation else "",
        _section("Epochs", _history(history)),
        _section("Again", f"<pre>{_text(command)}</pre>" if command else ""),
    ]
    body = "\n".join(section for section in sections if section)
    return write_text(path, PAGE.substitute(title=_text(title), style=STYLE, body=body))


def _text(value: Any) -> str:
    """Any value as harmless HTML; names of files that are not UTF-8 lose the bytes that cannot be written."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _number(value: Any, digits: int = 3) -> str:
    """A figure with ``digits`` decimals, a dash where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "–" if value in (None, "") else str(value)
    return f"{number:.{digits}f}" if isfinite(number) else "–"


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{_text(heading)}</h2>\n{content}\n</section>" if content else ""


def _figures(evaluation: dict[str, Any]) -> str:
    """The headline figures as cards."""
    accuracy, found = evaluation["accuracy"], _number(evaluation["accuracy"]["value"])
    if "mAP" in evaluation:
        cards = [
            ("all labels right", found, f"on {evaluation['n']} images; {_interval(accuracy)}"),
            ("mAP", _number(evaluation["mAP"]), "mean average precision of the labels"),
            ("micro F1", _number(evaluation["micro_f1"]), "every decision counts the same"),
            ("right decisions", _number(evaluation["accuracy_multi"]), "of all labels of all images"),
        ]
    else:
        error = ("error rate", _number(evaluation["error_rate"]), f"on {evaluation['n']} images")
        cards = [("accuracy", found, _interval(accuracy)), error]
    if top5 := evaluation.get("top5_accuracy"):
        cards.append(("top-5 accuracy", _number(top5["value"]), _interval(top5)))
    if "macro_f1" in evaluation:
        cards.append(
            (
                "macro F1",
                _number(evaluation["macro_f1"]),
                _interval(evaluation["macro_f1_interval"]) if "macro_f1_interval" in evaluation else "",
            )
        )
    before = evaluation.get("ece_before")
    note = "expected" if before is None else f"{_number(before)} before calibration"
    cards.append(("calibration error", _number(evaluation["ece_after"]), note))
    if baseline := evaluation.get("majority_baseline"):
        cards.append(("to beat", _number(baseline["value"]), "accuracy of always answering the commonest class"))
    items = (f"<div><dt>{_text(n)}</dt><dd>{_text(v)}<small>{_text(s)}</small></dd></div>" for n, v, s in cards)
    return f'<dl class="figures">{"".join(items)}</dl>'


def _interval(interval: dict[str, Any]) -> str:
    return f"95\u00a0% interval {_number(interval['low'])}\u2060–\u2060{_number(interval['high'])}"


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    return (
        f'<aside class="warnings" role="note"><strong>Before you trust it</strong><ul>{items}</ul></aside>'
        if items
        else ""
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return f'<dl class="facts">{items}</dl>' if items else ""


def _picture(path: Path) -> str:
    """The file itself inside the page, on white in the dark too: its ink is black."""
    caption = _text(CAPTIONS.get(path.stem, path.stem.replace("_", " ")))
    data = b64encode(path.read_bytes()).decode("ascii")
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure><figcaption>{caption}</figcaption>{image}</figure>"


def _evaluation(evaluation: dict[str, Any]) -> str:
    pairs = [[p["n"], p["truth"], p["predicted"]] for p in evaluation.get("most_confused", [])[:PAIRS]]
    top = [
        [r["path"], r["label"] or NONE, r["pred"] or NONE, _number(r["prob"]), _number(r["loss"], 2)]
        for r in evaluation["top_losses"]
    ]
    parts = [
        _per_class(evaluation["per_class"], several="mAP" in evaluation),
        _section("Most confused", _table(["times", "label", "prediction"], pairs, numeric={0})),
        _section("Top losses", _table(["image", "label", "prediction", "prob", "loss"], top, numeric={3, 4})),
    ]
    return "\n".join(part for part in parts if part)


def _per_class(rows: list[dict[str, Any]], several: bool) -> str:
    """A row for each class or label; of very many the worst, as a page of thousands of rows tells nobody anything."""
    heading, worst, content = ("Labels", worst_labels, _labels) if several else ("Classes", worst_classes, _classes)
    if len(rows) > MOST_ROWS:
        rows, heading = worst(rows, MOST_ROWS)
    return _section(heading, content(rows))


def _classes(rows: Iterable[dict[str, Any]]) -> str:
    """Every class with the interval of its recall: the share of its images that were recognised."""
    rows = list(rows)
    cells, more = [], training_columns(rows)
    for row in rows:
        recall = wilson(round(row["recall"] * row["n"]), row["n"])
        between = f"{recall.low:.2f}–{recall.high:.2f}"
        share, precision, f1 = (_number(row[key]) for key in ("recall", "precision", "f1"))
        cells.append([row["class"], images(row), share, between, precision, f1, *(show(row) for show in more.values())])
    names = ["class", "n", "recall", "95 % interval", "precision", "F1", *more]
    return _table(names, cells, numeric=set(range(1, len(names))))


def _labels(rows: Iterable[dict[str, Any]]) -> str:
    """Every label with its threshold and its counts."""
    figures, counts = ("ap", "f1", "precision", "recall", "threshold"), ("tp", "fp", "fn", "tn")
    rows = list(rows)
    more = training_columns(rows)
    cells = [
        [row["class"], images(row), *(_number(row[key]) for key in figures), *(row[key] for key in counts)]
        + [show(row) for show in more.values()]
        for row in rows
    ]
    columns = ["label", "images", "AP", "F1", "precision", "recall", "threshold", "TP", "FP", "FN", "TN", *more]
    return _table(columns, cells, numeric=set(range(1, len(columns))))


def _history(rows: Sequence[dict[str, Any]]) -> str:
    names = list(rows[0]) if rows else []
    figures = {i for i, name in enumerate(names) if name != "phase"}
    cells = [[_history_cell(row.get(name)) for name in names] for row in rows]
    return _table([name.replace("_", " ") for name in names], cells, figures)


def _history_cell(value: Any) -> str:
    """As in a terminal's table, but only what is so is marked, and what is no number is a dash."""
    if isinstance(value, bool) and not value:
        return ""
    return "–" if value is None or (isinstance(value, float) and not isfinite(value)) else cell(value)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], numeric: set[int]) -> str:
    """A table that scrolls by itself where it is wider than the page; nothing where it has no rows."""
    if not rows:
        return ""
    kinds = [' class="number"' if i in numeric else "" for i in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{_text(name)}</th>' for kind, name in zip(kinds, columns, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_text(value)}</td>" for kind, value in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
