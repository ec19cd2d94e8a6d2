"""In what the configuration differs from that of the run before."""

from imgclf.console import cell
from imgclf.results import html
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """A row for each key that changed."""
    if content.previous is None or content.changes is None:
        return ""
    rows = [[key, cell(before), cell(now)] for key, (before, now) in content.changes.items()]
    table = html.table(["key", content.previous, "this run"], rows, numeric=set())
    return html.section(
        f"Changed since {content.previous}", table or html.paragraph("Nothing: the same configuration.")
    )
