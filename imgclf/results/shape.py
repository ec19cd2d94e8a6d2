"""What ``eval/report.json`` holds, as far as reports show it: a run folder may be damaged, or come from anywhere."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator
from typing_extensions import Required, TypedDict

from imgclf import shapes
from imgclf.shapes import Count, Interval, Number, Share, Words

Maybe = Number | None


class Measured(Interval):
    """A figure that is known, with its interval."""

    value: Number  # type: ignore[misc]
    low: Number  # type: ignore[misc]
    high: Number  # type: ignore[misc]


# In this form, as ``class`` is a word of Python.
ClassRow = TypedDict("ClassRow", {
    "class": Required[str], "n": Required[Count], "precision": Required[Number], "recall": Required[Share],
    "f1": Required[Number], "n_train": Count, "weight": Number,
}, total=False)  # fmt: skip

LabelRow = TypedDict("LabelRow", {
    "class": Required[str], "n": Required[Count], "ap": Required[Maybe], "f1": Required[Maybe],
    "precision": Required[Maybe], "recall": Required[Maybe], "threshold": Required[Maybe], "tp": Required[Count],
    "fp": Required[Count], "fn": Required[Count], "tn": Required[Count], "n_train": Count, "weight": Number,
}, total=False)  # fmt: skip

GainRow = TypedDict("GainRow", {
    "class": str, "n": Count, "n_train": Count, "half": Maybe, "all": Maybe, "gain": Maybe, "low": Maybe, "high": Maybe,
})  # fmt: skip


class Pair(TypedDict):
    """Two classes that are confused."""

    truth: str
    predicted: str
    n: Count


class Loss(TypedDict, total=False):
    """An image with a high loss."""

    path: Required[str]
    label: Required[str | None]
    pred: Required[str | None]
    loss: Required[Maybe]
    prob: Required[Maybe]
    labels: Words
    preds: Words


class Reached(TypedDict, total=False):
    """What a baseline reaches."""

    accuracy: Required[Measured]
    mAP: Maybe
    label: str
    labels: Words


class Paired(TypedDict):
    """The model against a probe."""

    sentence: str


class Probe(TypedDict, total=False):
    """Classifiers on frozen features."""

    body: Required[str]
    n_train: Required[Count]
    n_train_of: Required[Count]
    features: Required[Count]
    seconds: Required[Number]
    paired: Required[Paired]
    logistic_regression: Reached
    knn: Reached


class Neighbours(TypedDict):
    """Whether images that follow each other by name show the same things."""

    sentence: str


class Baselines(TypedDict, total=False):
    """What the model has to beat."""

    majority: Required[Reached]
    probe: Required[Probe | None]
    why: Required[str | None]
    neighbours: Neighbours


class LearningCurve(TypedDict, total=False):
    """Whether more images would help; where it could not be told, there is no figure."""

    figure: Required[str | None]
    per_class: list[GainRow]
    advice: str


def _drawn(curve: Any) -> Any:
    if curve["figure"] is not None and not {"per_class", "advice"} <= curve.keys():
        raise ValueError("has a figure, but no classes or advice")
    return curve


class Far(TypedDict):
    """An image unlike the others."""

    path: str
    distance: Number


class Unlike(TypedDict):
    """What the check for unlike images flags."""

    n: Count
    flagged: Count
    share: Measured
    expected: Number
    farthest: list[Far]


class Shared(TypedDict, total=False):
    """Of both kinds."""

    n: Required[Count]
    accuracy: Required[Interval]
    top_losses: Required[list[Loss]]
    ece_after: Required[Maybe]
    ece_before: Maybe
    top5_accuracy: Interval | None
    macro_f1: Maybe
    macro_f1_interval: Interval | None
    majority_baseline: Interval | None
    warnings: Words
    baselines: Baselines | None
    unlike: Unlike | None


class Single(Shared, total=False):
    """Of a model that gives one label."""

    error_rate: Required[Number]
    per_class: Required[list[ClassRow]]
    most_confused: list[Pair]
    learning_curve: Annotated[LearningCurve, AfterValidator(_drawn)] | None


class Several(Shared, total=False):
    """Of a model that gives any number of labels."""

    mAP: Required[Maybe]
    micro_f1: Required[Maybe]
    accuracy_multi: Required[Maybe]
    per_class: Required[list[LabelRow]]
    learning_curve: Annotated[LearningCurve, AfterValidator(_drawn)] | None


def read(path: Path) -> dict[str, Any]:
    """The figures of a judged run.

    Raises:
        ModelError: naming the first that is not what it should be.
    """
    hint = "train again, or restore the file"
    found = shapes.read(path, shapes.Anything, hint)
    return shapes.check(path, found, Several if "mAP" in found else Single, hint)
