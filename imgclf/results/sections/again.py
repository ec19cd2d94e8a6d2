"""How to repeat the run."""

from imgclf.results import html
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """The commands, to be copied."""
    parts = [
        _commands([content.command, *content.later] if content.command else []),
        html.paragraph("The same, with every setting as it was resolved:") if content.config else "",
        _commands([f"imgclf train -c {content.config}"] if content.config else []),
    ]
    return html.section("Again", "".join(parts))


def _commands(lines: list[str]) -> str:
    return f"<pre>{html.text(chr(10).join(lines))}</pre>" if lines else ""
