"""Values as harmless HTML: text, figures, tables, pictures."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import Any


def text(value: Any) -> str:
    """Any value as harmless HTML; names of files that are not UTF-8 lose the bytes that cannot be written."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def name(value: Any) -> str:
    """Any value as a text of its own direction: a name in Arabic does not turn what stands around it."""
    return f"<bdi>{text(value)}</bdi>"


def number(value: Any, digits: int = 3) -> str:
    """A figure with ``digits`` decimals, a dash where there is none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
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
    return (
        f'<img alt="{text(alt)}" title="{text(alt)}" src="data:image/{kind};base64,{b64encode(data).decode("ascii")}">'
    )


def definitions(pairs: Sequence[tuple[str, str]], kind: str) -> str:
    """Names and values as a list of definitions of a class of the style sheet; nothing where there are none."""
    items = "".join(f"<dt>{text(term)}</dt><dd>{name(value)}</dd>" for term, value in pairs)
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def folded(heading: str, content: str) -> str:
    """HTML that opens on demand; nothing where there is no content."""
    return f"<details><summary>{text(heading)}</summary>{content}</details>" if content else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], numeric: set[int]) -> str:
    """A table that scrolls by itself where it is wider than the page; nothing where it has no rows.

    The first column, unless of figures, names the rows.

    Args:
        numeric: The columns, from 0, whose cells are figures.
    """
    if not rows:
        return ""
    kinds = [' class="number"' if i in numeric else "" for i in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{name(title)}</th>' for kind, title in zip(kinds, columns, strict=True))
    body = "\n".join(f"<tr>{_cells(row, numeric)}</tr>" for row in rows)
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table: {text(columns[0])}">{inner}</div>'


def _cells(row: Sequence[Any], numeric: set[int]) -> str:
    found = []
    for i, value in enumerate(row):
        if i in numeric:
            found.append(f'<td class="number">{text(value)}</td>')
        else:
            found.append(f'<th scope="row">{name(value)}</th>' if i == 0 else f"<td>{name(value)}</td>")
    return "".join(found)
