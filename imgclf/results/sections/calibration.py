"""Are the probabilities right, and what does it cost to answer only when sure?"""

from imgclf.results import html
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """The reliability diagram and the risk-coverage curve."""
    return html.section("Calibration", pictures.figures(content, "reliability", "risk_coverage"))
