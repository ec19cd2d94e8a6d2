"""The run's plots, each in the section it belongs to."""

from pathlib import Path

from imgclf.results import html
from imgclf.results.sections.content import Content
from imgclf.results.thumbnails import thumbnail

CAPTIONS = {
    "history": "Losses and metrics over the epochs",
    "schedule": "Learning rate of each layer group over the steps",
    "batch": "Training images as the network sees them",
    "confusion": "Which class was taken for which",
    "labels": "How well each label is found",
    "reliability": "Is it right as often as it says?",
    "risk_coverage": "How many answers are wrong if the model may say 'I don't know'",
    "top_losses": "The images with the highest loss",
    "learning_curve": "How the error falls with the number of training images",
    "lr_find": "Learning-rate finder",
    "lr_find_unfrozen": "Learning-rate finder, the body training, after the frozen phase",
}
ELSEWHERE = frozenset([*CAPTIONS, "heatmaps"]) - {"top_losses"}  # shown by another section
PHOTOGRAPHIC = frozenset(["batch", "top_losses"])  # in the page as JPEG: as PNG they would be most of it
WIDEST = 4000  # pixels of one


def section(content: Content) -> str:
    """Every plot that no other section shows."""
    shown = ELSEWHERE | ({"top_losses"} if content.worst else set())
    return html.section("Pictures", figures(content, *(p.stem for p in content.plots if p.stem not in shown)))


def figures(content: Content, *names: str) -> str:
    """Those of the named plots that are there."""
    return "\n".join(filter(None, (_figure(path) for path in map(content.plot, names) if path)))


def _figure(path: Path) -> str:
    """The file itself inside the page, on white in the dark too: its ink is black; "" where it cannot be read."""
    caption = CAPTIONS.get(path.stem, path.stem.replace("_", " "))
    data, kind = (thumbnail(path, WIDEST), "jpeg") if path.stem in PHOTOGRAPHIC else (path.read_bytes(), "png")
    image = html.picture(data, caption, kind) if data else ""
    return image and f"<figure><figcaption>{html.text(caption)}</figcaption>{image}</figure>"
