"""What the check found in the data."""

from typing import Any

from imgclf.results import html
from imgclf.results.sections.content import Content

KINDS = {
    "bad": "cannot be decoded, left out",
    "duplicates": "the same picture more than once",
    "near_duplicates": "nearly the same picture",
    "leaks": "in training and held out as well: the figures are too good",
    "conflicts": "the same picture with different labels",
}


def section(content: Content) -> str:
    """How many of each kind, with some of them; and what was done about it."""
    checks = content.checks
    if not checks:
        return ""
    examples = checks.get("examples", {})
    rows = [
        [what, checks[kind], "\n".join(map(_group, examples.get(kind, [])))]
        for kind, what in KINDS.items()
        if checks.get(kind)
    ]
    found = html.table(["found", "times", "such as"], rows, numeric={1})
    known = [what for kind, what in KINDS.items() if kind in checks and not checks[kind]]
    clean = html.paragraph(f"Looked for and not found: {'; '.join(known)}.") if known else ""
    return html.section("The data", found + clean + html.paragraph(_done(checks)))


def _group(example: Any) -> str:
    return example if isinstance(example, str) else " · ".join(example)


def _done(checks: dict[str, Any]) -> str:
    fixed = checks.get("fixed", {})
    left_out, kept = len(fixed.get("left_out", [])), fixed.get("groups_kept_together", 0)
    said = [
        f"{checks['corrections']} labels were corrected (data.corrections)." if checks.get("corrections") else "",
        f"{left_out} training images were left out, being held out as well (data.on_leak)." if left_out else "",
        f"{kept} groups of equal pictures were each kept on one side (data.on_leak)." if kept else "",
    ]
    return " ".join(text for text in said if text)
