"""What was trained on what."""

from imgclf.results import html
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """Names and values."""
    return html.section("The run", html.definitions(content.facts, "facts"))
