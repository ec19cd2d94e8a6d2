"""The mistakes: which classes are confused, and the images with the highest loss."""

from imgclf.results import html
from imgclf.results.html import number
from imgclf.results.lettering import NONE
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Confused, Content, Thumbnail, Worst

PAIRS = 15  # most confused pairs listed


def confused(content: Content) -> str:
    """The confusion matrix, the commonest mistakes, and images of them."""
    if content.several:  # a label that is missed is not taken for another
        return ""
    found = (content.evaluation or {}).get("most_confused", [])[:PAIRS]
    pairs = [[p["truth"], p["predicted"], p["n"]] for p in found]
    parts = [
        pictures.figures(content, "confusion"),
        html.table(["label", "prediction", "times"], pairs, numeric={2}),
        "\n".join(_kind(kind) for kind in content.confused),
    ]
    return html.section("Most confused", "\n".join(part for part in parts if part))


def losses(content: Content) -> str:
    """The images the model got most wrong, or was least sure of, and where in them it looked."""
    rows = [
        [r["path"], r["label"] or NONE, r["pred"] or NONE, number(r["prob"]), number(r["loss"], 2)]
        for r in (content.evaluation or {}).get("top_losses", [])
    ]
    table = html.table(["image", "label", "prediction", "prob", "loss"], rows, numeric={3, 4})
    shown = "\n".join(_one(worst) for worst in content.worst)
    if not shown:
        return html.section("Top losses", table)
    about = html.paragraph(
        "Each image as the network sees it; beside it, in bright colours, the places that speak for a class (Grad-CAM)."
    )
    return html.section("Top losses", f'{about}<div class="cards">{shown}</div>{html.folded("All as a table", table)}')


def _kind(kind: Confused) -> str:
    heading = f"{html.name(kind.truth)} taken for {html.name(kind.predicted)}: {kind.n} times"
    return f"<h3>{heading}</h3>\n{_strip(kind.images)}"


def _strip(images: list[Thumbnail]) -> str:
    shown = "".join(f"<li>{html.picture(one.data, one.alt, 'jpeg')}</li>" for one in images)
    return f'<ul class="strip">{shown}</ul>'


def _one(worst: Worst) -> str:
    row = worst.row
    views = "".join(
        f"<li>{html.picture(one.data, one.alt, 'jpeg')}<small>{html.name(caption)}</small></li>"
        for caption, one in worst.views
    )
    facts = [
        ("label", row["label"] or NONE),
        ("prediction", f"{row['pred'] or NONE} ({number(row['prob'])})"),
        ("loss", number(row["loss"], 2)),
        ("image", row["path"]),
    ]
    return f'<article class="card"><ul class="strip">{views}</ul>{html.definitions(facts, "facts")}</article>'
