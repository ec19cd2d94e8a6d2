"""Images of a run for its report: of its mistakes, with heat maps, and what kinds of images there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.console import Terminal
from imgclf.data import survey
from imgclf.data.inspection import UNREADABLE
from imgclf.data.samples import Sample
from imgclf.results import slices as sliced
from imgclf.results import thumbnails
from imgclf.results.answers import Answer
from imgclf.results.lettering import NONE
from imgclf.results.sections.content import Confused, Thumbnail, Worst
from imgclf.results.slices import Looks
from imgclf.results.thumbnails import heated, jpeg, thumbnail
from imgclf.shipping.inference import Predictor

KINDS, OF_KIND = 8, 6  # kinds of mistakes with images, and images of each
WORST = 12  # images with a high loss
VIEW = 180  # pixels, the side of an image with a heat map


def confused(root: Path, evaluation: Mapping[str, Any], answers: Mapping[str, Answer]) -> list[Confused]:
    """The commonest mistakes, each with the images the model was surest of."""
    found = []
    for pair in evaluation.get("most_confused", [])[:KINDS]:
        kind = (pair["truth"], pair["predicted"])
        of_kind = [(path, a) for path, a in answers.items() if (a.target, a.pred) == kind]
        shown = sorted(of_kind, key=lambda one: -one[1].prob)[:OF_KIND]
        thumbnails = [
            Thumbnail(data, f"{path}: label {a.target}, prediction {a.pred}, probability {a.prob:.2f}")
            for path, a in shown
            if (data := thumbnail(root / path))
        ]
        if thumbnails:
            found.append(Confused(*kind, pair["n"], thumbnails))
    return found


def worst(predictor: Predictor | None, root: Path, rows: Sequence[dict[str, Any]]) -> list[Worst]:
    """The images with the highest loss; with a predictor each under heat maps of its answer and its label."""
    views = ((row, _views(predictor, root / row["path"], row)) for row in rows[:WORST])
    return [Worst(row, shown) for row, shown in views if shown]


def sheet(found: Sequence[Worst], path: Path) -> None:
    """The same images and heat maps as one picture; none where there are no heat maps."""
    rows = [
        (f"{one.row['label'] or NONE} > {one.row['pred'] or NONE}", [v.data for _, v in one.views]) for one in found
    ]
    if any(len(views) > 1 for _, views in rows):
        thumbnails.sheet(rows, path)


def _views(predictor: Predictor | None, path: Path, row: dict[str, Any]) -> list[tuple[str, Thumbnail]]:
    about = f"{row['path']}: label {row['label'] or NONE}, prediction {row['pred'] or NONE}"
    if predictor is None or predictor.network is None:
        data = thumbnail(path, VIEW)
        return [("the image", Thumbnail(data, about))] if data else []
    from imgclf.shipping.gradcam import heatmaps

    try:
        image = predictor.preprocess.load(path)
    except UNREADABLE:  # gone or damaged since: the table has its row
        return []
    wanted = [name for name in _wanted(row) if name in predictor.classes]
    # No label and none given: there is no class to ask about.
    maps = heatmaps(predictor, image, [predictor.classes.index(name) for name in wanted]) if wanted else ()
    shown = [("what it sees", Thumbnail(_jpeg(image), about))]
    for name, heat in zip(wanted, maps, strict=False):
        what = f"{'' if heat.any() else 'nothing '}speaks for {name}"
        shown.append((what, Thumbnail(_jpeg(np.asarray(heated(image, heat))), f"{row['path']}: {what}")))
    return shown


def _wanted(row: dict[str, Any]) -> list[str]:
    """The classes to draw maps of: an answer that is wrong and a label that was missed; else those there are."""
    labels, preds = row.get("labels", [row["label"]]), row.get("preds", [row["pred"]])
    given = [*(name for name in preds if name not in labels), *preds][:1]
    missed = [*(name for name in labels if name not in preds), *labels][:1]
    return list(dict.fromkeys([*given, *missed]))


def _jpeg(image: np.ndarray) -> bytes:
    from PIL import Image

    return jpeg(Image.fromarray(image), VIEW)


def slices(root: Path, answers: Mapping[str, Answer], terminal: Terminal) -> dict[str, Any] | None:
    """The error by what the judged images look like: from what the check kept of them, decoded again only if changed.

    None where none of them can be read.
    """
    samples = [Sample(path, ()) for path in answers]
    with terminal.progress("looking at images", len(samples)) as step:
        checks = survey.inspect(root, samples, step)
    seen = [(check.path, check.look) for check in checks if check.look]
    if not seen:
        return None
    looks = Looks(
        np.array([np.frombuffer(look.small, np.uint8).mean() / 255 for _, look in seen]),
        np.array([look.width for _, look in seen]),
        np.array([look.height for _, look in seen]),
    )
    found = sliced.slices(looks, np.array([not answers[path].right for path, _ in seen]))
    return {**found, "note": sliced.missing(len(answers), len(seen))}
