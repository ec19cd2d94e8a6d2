"""The error on dark and bright, small and large, wide and tall images."""

from imgclf.results import html
from imgclf.results import slices as found_in
from imgclf.results.html import number
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """A row for each slice, those marked that differ from the whole."""
    found = content.slices
    if not found or not found["rows"]:
        return ""
    rows = [
        [
            row["by"],
            row["slice"],
            row["error"]["n"],
            number(row["error"]["value"]),
            f"{number(row['error']['low'])}–{number(row['error']['high'])}",
            {"worse": "▲ worse", "better": "▼ better", None: ""}[row["differs"]],
        ]
        for row in found["rows"]
    ]
    table = html.table(["by", "images", "n", "error", "95 % interval", "differs"], rows, numeric={2, 3, 4})
    said = f"{found_in.sentence(found)} {found.get('note') or ''}".strip()
    return html.section("Kinds of images", f"{html.paragraph(said)}{table}")
