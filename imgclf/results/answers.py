"""A model's answer for every judged image, as a file: what paired tests between models start from."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgclf.data.labels import join
from imgclf.errors import ModelError
from imgclf.results import multilabel, thresholds
from imgclf.results.evaluate import Predictions

COLUMNS = ("path", "target", "pred", "prob")


@dataclass(frozen=True)
class Answer:
    """The true and the predicted class of one image, by name, and the probability of the predicted one.

    With several labels an image: its labels in one cell (``data.labels.parse`` takes them apart), and the highest
    probability of any label.
    """

    target: str
    pred: str
    prob: float

    @property
    def right(self) -> bool:
        return self.pred == self.target


def to_csv(predictions: Predictions) -> str:
    """The text of ``eval/predictions.csv``: a row an image, in the order judged."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    probs = predictions.probs
    cells = _label_sets(predictions, probs) if predictions.task == "multi" else _classes(predictions, probs)
    for path, (target, pred), row in zip(predictions.paths, cells, probs, strict=True):
        writer.writerow([path, target, pred, f"{row.max():.6f}"])
    return stream.getvalue()


def _classes(predictions: Predictions, probs: np.ndarray) -> Iterator[tuple[str, str]]:
    for target, best in zip(predictions.targets, probs.argmax(1), strict=True):
        yield predictions.classes[target], predictions.classes[best]


def _label_sets(predictions: Predictions, probs: np.ndarray) -> Iterator[tuple[str, str]]:
    given = thresholds.decide(probs, predictions.thresholds)
    for target, pred in zip(predictions.targets, given, strict=True):
        yield join(multilabel.names(predictions.classes, target)), join(multilabel.names(predictions.classes, pred))


def read_csv(path: Path) -> dict[str, Answer]:
    """The answers of a ``predictions.csv`` by image path.

    Raises:
        ModelError: if the file cannot be read or is not one.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {r["path"]: Answer(r["target"], r["pred"], float(r["prob"])) for r in csv.DictReader(stream)}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as e:
        raise ModelError(
            f"cannot read the predictions {path}: {e!r}",
            "a finished run has them: train it again",
        ) from e
