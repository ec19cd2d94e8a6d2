"""One HTML page about a run: a list of sections, each made from plain data by a function of its own."""

from collections.abc import Callable
from pathlib import Path

from imgclf.results.page import write_page
from imgclf.results.sections import (
    again,
    baselines,
    calibration,
    changes,
    classes,
    data,
    epochs,
    facts,
    headline,
    pictures,
    plan,
    slices,
    worst,
)
from imgclf.results.sections.content import Content

# In the order of the page. A section gives HTML, or "" where there is nothing to say. To add one: a module in
# ``sections`` with such a function, and its name here.
SECTIONS: tuple[Callable[[Content], str], ...] = (
    headline.figures,
    headline.warnings,
    facts.section,
    plan.section,
    epochs.section,
    worst.confused,
    worst.losses,
    classes.section,
    baselines.section,
    baselines.more_images,
    calibration.section,
    slices.section,
    baselines.unlike,
    pictures.section,
    data.section,
    changes.section,
    again.section,
)


def write_report(path: Path, content: Content) -> Path:
    """Write the page."""
    found = (section(content) for section in SECTIONS)
    return write_page(path, content.title, "\n".join(part for part in found if part))
