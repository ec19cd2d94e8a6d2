"""The epochs, one a row."""

from math import isfinite
from typing import Any

from imgclf.console import cell
from imgclf.results import html
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """The table of ``history.csv``."""
    rows = content.history
    names = list(rows[0]) if rows else []
    figures = {i for i, name in enumerate(names) if name != "phase"}
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return html.section("Epochs", html.table([name.replace("_", " ") for name in names], cells, figures))


def _cell(value: Any) -> str:
    """As in a terminal's table, but only what is so is marked, and what is no number is a dash."""
    if isinstance(value, bool) and not value:
        return ""
    return "–" if value is None or (isinstance(value, float) and not isfinite(value)) else cell(value)
