"""The run's plots."""

from pathlib import Path

from imgclf.results import html
from imgclf.results.sections.content import Content

CAPTIONS = {
    "history": "Losses and metrics over the epochs",
    "confusion": "Which class was taken for which",
    "labels": "How well each label is found",
    "reliability": "Is it right as often as it says?",
    "risk_coverage": "How many answers are wrong if the model may say 'I don't know'",
    "top_losses": "The images with the highest loss",
    "lr_find": "Learning-rate finder",
    "lr_find_unfrozen": "Learning-rate finder, all layers training, after the frozen phase",
}


def section(content: Content) -> str:
    """Every plot that is there, under what it shows."""
    return html.section("Pictures", "\n".join(figure(plot) for plot in content.plots if plot.is_file()))


def figure(path: Path) -> str:
    """The file itself inside the page, on white in the dark too: its ink is black."""
    caption = CAPTIONS.get(path.stem, path.stem.replace("_", " "))
    image = html.picture(path.read_bytes(), caption)
    return f"<figure><figcaption>{html.text(caption)}</figcaption>{image}</figure>"
