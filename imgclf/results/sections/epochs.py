"""How the training went: curves over all phases, and the epochs, one a row."""

from math import isfinite
from typing import Any

from imgclf.console import cell
from imgclf.results import html
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """Losses and metrics as curves, then the table of ``history.csv``, and what the network was shown."""
    rows = content.history
    names = list(rows[0]) if rows else []
    figures = {i for i, name in enumerate(names) if name != "phase"}
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    table = html.table([name.replace("_", " ") for name in names], cells, figures)
    shown = [pictures.figures(content, "history"), table, pictures.figures(content, "batch")]
    return html.section("Epochs", "\n".join(part for part in shown if part))


def _cell(value: Any) -> str:
    """As in a terminal's table, but only what is so is marked, and what is no number is a dash."""
    if isinstance(value, bool) and not value:
        return ""
    return "–" if value is None or (isinstance(value, float) and not isfinite(value)) else cell(value)
