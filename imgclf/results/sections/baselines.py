"""What the model has to beat, and whether more images would help."""

from typing import Any

from imgclf.results import html
from imgclf.results.baselines import NAMES, always
from imgclf.results.html import number
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Content

MOST_CLASSES = 10


def section(content: Content) -> str:
    """The model beside the commonest class and the probes, with the paired test in a sentence."""
    evaluation = content.evaluation or {}
    found = evaluation.get("baselines")
    if not found:
        return ""
    probe = found["probe"]
    rows = [["this model", *_cells(evaluation)]]
    for key, name in NAMES.items():
        if probe and key in probe:
            rows.append([f"{name} on frozen features", *_cells(probe[key])])
    common = found["majority"]
    rows.append([always(common), *_cells(common)])
    columns = ["model", "all labels right" if content.several else "accuracy", "95 % interval", "n"]
    if content.several:
        columns.append("mAP")
    if not probe:
        words = f"No frozen-feature probe: {found['why']}."
        return html.section("What it has to beat", html.table(columns, rows, set(range(1, 5))) + html.paragraph(words))
    part = "" if probe["n_train"] == probe["n_train_of"] else f" of {probe['n_train_of']:,}, drawn at random"
    how = (
        f"Frozen features: {probe['features']:,} for each image, from {probe['body']}, as it was before this run; the "
        f"probes are fitted to {probe['n_train']:,} training images{part}, in {probe['seconds']:.0f} s."
    )
    sentence = probe["paired"]["sentence"]
    words = html.paragraph(f"{sentence[:1].upper()}{sentence[1:]}.") + html.paragraph(how)
    return html.section("What it has to beat", html.table(columns, rows, set(range(1, 5))) + words)


def _cells(found: dict[str, Any]) -> list[str]:
    accuracy = found["accuracy"]
    cells = [number(accuracy["value"]), f"{number(accuracy['low'])}–{number(accuracy['high'])}", f"{accuracy['n']:,}"]
    return [*cells, number(found["mAP"])] if "mAP" in found else cells


def more_images(content: Content) -> str:
    """The learning curve with its advice, and the classes that gained most."""
    found = (content.evaluation or {}).get("learning_curve")
    if not found or found["figure"] is None:
        return ""
    drawn = pictures.figures(content, "learning_curve")
    decisions = "right decisions" if content.several else "right"
    rows = [
        [r["class"], r["n_train"], r["n"], number(r["half"]), number(r["all"]), number(r["gain"]),
         f"{number(r['low'])} to {number(r['high'])}"]
        for r in found["per_class"][:MOST_CLASSES]
    ]  # fmt: skip
    columns = ["class", "trained on", "n", f"{decisions}, half", f"{decisions}, all", "gain", "95 % interval"]
    note = (
        f"Of {len(found['per_class']):,} classes those that gained most from the second half of the training images; "
        "the interval of each is for itself alone."
    )
    parts = [html.paragraph(found["advice"]), drawn, html.table(columns, rows, set(range(1, 7)))]
    parts += [html.paragraph(note)] if rows else []
    return html.section("Would more images help?", "\n".join(parts))


def unlike(content: Content) -> str:
    """What the check for unlike images is good for."""
    found = (content.evaluation or {}).get("unlike")
    if not found:
        return ""
    share = found["share"]
    words = (
        f"imgclf predict flags images whose features lie far from those of the validation images. Of these "
        f"{found['n']:,} it flags {found['flagged']:,} ({share['value']:.1%}); of other images of the same kind about "
        f"{found['expected']:.1%} are expected to be flagged wrongly."
    )
    rows = [[row["path"], number(row["distance"], 2)] for row in found["farthest"]]
    table = html.table(["image", "distance (from 1 on unlike)"], rows, {1})
    return html.section("Images unlike the others", html.paragraph(words) + table)
