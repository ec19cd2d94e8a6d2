"""How to repeat the run."""

from imgclf.results import html
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """The command, to be copied."""
    return html.section("Again", f"<pre>{html.text(content.command)}</pre>" if content.command else "")
