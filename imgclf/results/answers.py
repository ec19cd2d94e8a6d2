"""A model's answer for every judged image, as a file: what paired tests between models start from."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from imgclf.errors import ModelError
from imgclf.results.evaluate import Predictions

COLUMNS = ("path", "target", "pred", "prob")


@dataclass(frozen=True)
class Answer:
    """The true and the predicted class of one image, by name, and the probability of the predicted one."""

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
    classes, probs = predictions.classes, predictions.probs
    for path, target, row in zip(predictions.paths, predictions.targets, probs, strict=True):
        best = int(row.argmax())
        writer.writerow([path, classes[target], classes[best], f"{row[best]:.6f}"])
    return stream.getvalue()


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
