"""The mistakes: which classes are confused, and the images with the highest loss."""

from imgclf.results import html
from imgclf.results.html import number
from imgclf.results.lettering import NONE
from imgclf.results.sections.content import Content

PAIRS = 15  # most confused pairs listed


def confused(content: Content) -> str:
    """The commonest mistakes."""
    found = (content.evaluation or {}).get("most_confused", [])[:PAIRS]
    pairs = [[p["n"], p["truth"], p["predicted"]] for p in found]
    return html.section("Most confused", html.table(["times", "label", "prediction"], pairs, numeric={0}))


def losses(content: Content) -> str:
    """The images the model got most wrong, or was least sure of."""
    rows = [
        [r["path"], r["label"] or NONE, r["pred"] or NONE, number(r["prob"]), number(r["loss"], 2)]
        for r in (content.evaluation or {}).get("top_losses", [])
    ]
    columns = ["image", "label", "prediction", "prob", "loss"]
    return html.section("Top losses", html.table(columns, rows, numeric={3, 4}))
