"""What the run is worth at a glance, and what to know before believing it."""

from typing import Any

from imgclf.results.html import interval, number, text
from imgclf.results.sections.content import Content

Card = tuple[str, str, str]


def figures(content: Content) -> str:
    """The headline figures as cards."""
    if content.evaluation is None:
        return ""
    cards = _several(content.evaluation) if content.several else _single(content.evaluation)
    cards += _shared(content.evaluation)
    items = (f"<div><dt>{text(n)}</dt><dd>{text(v)}<small>{text(s)}</small></dd></div>" for n, v, s in cards)
    return f'<dl class="figures">{"".join(items)}</dl>'


def warnings(content: Content) -> str:
    """The warnings of run and evaluation, each once."""
    notes = dict.fromkeys([*content.warnings, *(content.evaluation or {}).get("warnings", [])])
    items = "".join(f"<li>{text(note)}</li>" for note in notes)
    return (
        f'<aside class="warnings" role="note"><strong>Before you trust it</strong><ul>{items}</ul></aside>'
        if items
        else ""
    )


def _single(evaluation: dict[str, Any]) -> list[Card]:
    accuracy = evaluation["accuracy"]
    return [
        ("accuracy", number(accuracy["value"]), interval(accuracy)),
        ("error rate", number(evaluation["error_rate"]), f"on {evaluation['n']} images"),
    ]


def _several(evaluation: dict[str, Any]) -> list[Card]:
    accuracy = evaluation["accuracy"]
    return [
        ("all labels right", number(accuracy["value"]), f"on {evaluation['n']} images; {interval(accuracy)}"),
        ("mAP", number(evaluation["mAP"]), "mean average precision of the labels"),
        ("micro F1", number(evaluation["micro_f1"]), "every decision counts the same"),
        ("right decisions", number(evaluation["accuracy_multi"]), "of all labels of all images"),
    ]


def _shared(evaluation: dict[str, Any]) -> list[Card]:
    """Cards of both kinds, where their figures are there."""
    cards = []
    if top5 := evaluation.get("top5_accuracy"):
        cards.append(("top-5 accuracy", number(top5["value"]), interval(top5)))
    if "macro_f1" in evaluation:
        ends = evaluation.get("macro_f1_interval")
        cards.append(("macro F1", number(evaluation["macro_f1"]), interval(ends) if ends else ""))
    before = evaluation.get("ece_before")
    note = "expected" if before is None else f"{number(before)} before calibration"
    cards.append(("calibration error", number(evaluation["ece_after"]), note))
    if baseline := evaluation.get("majority_baseline"):
        cards.append(
            ("to beat", number(baseline["value"]), "accuracy of always answering the class commonest in these images")
        )
    return cards
