"""Values as harmless HTML: text, figures, tables, pictures."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import Any


def text(value: Any) -> str:
    """Any value as harmless HTML; names of files that are not UTF-8 lose the bytes that cannot be written."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def number(value: Any, digits: int = 3) -> str:
    """A figure with ``digits`` decimals, a dash where there is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return "–" if value in (None, "") else str(value)
    return f"{found:.{digits}f}" if isfinite(found) else "–"


def interval(found: dict[str, Any]) -> str:
    """The ends of an ``Interval.to_dict()``, in words."""
    return f"95\u00a0% interval {number(found['low'])}\u2060–\u2060{number(found['high'])}"


def section(heading: str, content: str) -> str:
    """HTML under a heading; nothing where there is no content."""
    return f"<section>\n<h2>{text(heading)}</h2>\n{content}\n</section>" if content else ""


def paragraph(words: str) -> str:
    """Any words as a paragraph; nothing where there are none."""
    return f"<p>{text(words)}</p>" if words else ""


def picture(data: bytes, alt: str, kind: str = "png") -> str:
    """An image inside the page.

    Args:
        kind: ``png`` or ``jpeg``.
    """
    return f'<img alt="{text(alt)}" src="data:image/{kind};base64,{b64encode(data).decode("ascii")}">'


def definitions(pairs: Sequence[tuple[str, str]], kind: str) -> str:
    """Names and values as a list of definitions of a class of the style sheet; nothing where there are none."""
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], numeric: set[int]) -> str:
    """A table that scrolls by itself where it is wider than the page; nothing where it has no rows.

    Args:
        numeric: The columns, from 0, whose cells are figures.
    """
    if not rows:
        return ""
    kinds = [' class="number"' if i in numeric else "" for i in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{text(name)}</th>' for kind, name in zip(kinds, columns, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{text(value)}</td>" for kind, value in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
