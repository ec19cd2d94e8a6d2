"""What a model file says about its weights: classes, preprocessing, layers, calibration, results.

Needs neither torch nor fastai; strict, as the file may come from anywhere.
"""

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from imgclf import __version__
from imgclf.data.images import LATER, Preprocess, ResizeRule
from imgclf.data.samples import Task
from imgclf.errors import ModelError
from imgclf.results.thresholds import DEFAULT

SCHEMA = 1
MAX_SIDE = 8192  # pixels
MAX_CLASSES = 1 << 20


@dataclass(frozen=True)
class Record:
    """The facts of one model. Any ``Record`` that exists is valid.

    Attributes:
        classes: Names in the order of the model's outputs.
        arch: A name that ``bodies.body`` knows.
        head: What ``layers.describe`` says of the head.
        temperature: The logits are divided by it before the softmax (the sigmoid, for several labels).
        metrics: Results on the validation images, as ``results.metrics`` gives them.
        training: Free facts: run, epochs, pretrained, seed, fingerprint of the data.
        task: Whether an image has one label or any number of them.
        thresholds: For several labels, in the order of ``classes``: the least probability, 0 to 1, at which an image
            has that label; None: 0.5 for each.
        cut: Where the body ends, as ``model.cut``; None: where it usually does.

    Raises:
        ModelError: for a value that cannot be right.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess
    arch: str
    head: list[dict[str, Any]]
    temperature: float = 1.0
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
    imgclf_version: str = __version__
    task: Task = "single"
    thresholds: tuple[float, ...] | None = None
    cut: int | None = None

    def __post_init__(self) -> None:
        _check_schema(self.schema)
        _check_classes(self.classes)
        _check_preprocess(self.preprocess)
        if not _is_number(self.temperature) or not 1e-4 <= self.temperature <= 1e4:
            raise ModelError(f"the temperature {self.temperature!r:.80} is not a number from 0.0001 to 10,000")
        kinds: dict[str, type] = {"arch": str, "head": list, "metrics": dict, "training": dict, "imgclf_version": str}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ModelError(f"the model record's '{name}' must be a {kind.__name__}")
        check_task(self.task, self.thresholds, len(self.classes))
        if self.cut is not None and (type(self.cut) is not int or not 0 < abs(self.cut) < 10):
            raise ModelError(f"the model record's 'cut' is {self.cut!r:.80}, not a number from -9 to 9 but 0, or null")

    @property
    def cutoffs(self) -> tuple[float, ...] | None:
        """The thresholds in force, the default where none are recorded; None for one label an image."""
        return check_task(self.task, self.thresholds, len(self.classes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``schema`` first, so that a reader sees it first."""
        thresholds = None if self.thresholds is None else list(self.thresholds)
        own = {"preprocess": self.preprocess.to_dict(), "classes": list(self.classes), "thresholds": thresholds}
        return {"schema": self.schema, **asdict(self), **own}

    def to_json(self) -> str:
        """One line of JSON.

        Raises:
            ModelError: if ``metrics`` or ``training`` hold NaN, infinity or anything JSON has no word for.
        """
        try:
            text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
            text.encode()  # a lone surrogate, as in a file name that is not UTF-8, cannot be written anywhere
            return text
        except (TypeError, ValueError, RecursionError) as e:
            raise ModelError(f"the model record cannot be written as JSON: {e}") from e

    @classmethod
    def from_dict(cls, data: Any) -> "Record":
        """The record of ``to_dict``.

        Raises:
            ModelError: for missing or unknown keys, wrong values, or a schema newer than this version knows.
        """
        if not isinstance(data, dict):
            raise ModelError("the model record is not a JSON object")
        # Before the keys: a newer schema may have others.
        _check_schema(data.get("schema"), data.get("imgclf_version"))
        # The first files had one label an image and the usual body, and no word on either.
        data = {"task": "single", "thresholds": None, "cut": None, **data}
        known = {f.name for f in fields(cls)}
        if data.keys() != known:
            wrong = sorted(map(str, known ^ data.keys()))
            raise ModelError(f"the model record has missing or unknown keys: {', '.join(wrong)[:200]}")
        if not isinstance(data["classes"], list):
            raise ModelError("the model record's 'classes' must be a list")
        preprocess = preprocess_from(data["preprocess"])
        thresholds = _as_tuple(data["thresholds"])
        record = cls(**{**data, "classes": tuple(data["classes"]), "preprocess": preprocess, "thresholds": thresholds})
        record.to_json()  # refuses infinities, which Python's JSON reader lets pass
        return record

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record of ``to_json``; raises ``ModelError`` as ``from_dict`` does."""
        return cls.from_dict(parse(text))


def parse(text: str | bytes, what: object = "the model record") -> Any:
    """JSON, or a ModelError that says it is none, or that a key is there twice: readers differ in which they take."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as e:
        raise ModelError(f"{what} is not JSON: {e}"[:300]) from e


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.80} is there twice")
    return found


def preprocess_from(data: Any) -> Preprocess:
    """A ``Preprocess`` from untrusted plain values.

    Raises:
        ModelError: for missing or unknown keys or values no model can have.
    """
    known = {f.name for f in fields(Preprocess)}
    # Version 0.1 had RGB alone, and no word on it.
    if not isinstance(data, dict) or {"channels": 3, **LATER, **data}.keys() != known:
        raise ModelError(f"the model record's 'preprocess' must have exactly the keys {', '.join(sorted(known))}")
    if not isinstance(data["mean"], list | tuple) or not isinstance(data["std"], list | tuple):
        raise ModelError("the model record's 'mean' and 'std' must be lists")
    preprocess = Preprocess.from_dict(data)
    _check_preprocess(preprocess)
    return preprocess


def check_classes(classes: Any) -> tuple[str, ...]:
    """The names as a tuple, if they can be a model's classes; a ModelError if not."""
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    _check_classes(names)
    return names


def check_task(task: Any, thresholds: Any, n_classes: int) -> tuple[float, ...] | None:
    """The thresholds a model answers with: None for one label an image, else one for each class.

    Args:
        thresholds: A sequence of numbers; None: the default for each class.

    Raises:
        ModelError: for an unknown task, or thresholds that cannot be those of this task and number of classes.
    """
    if task not in get_args(Task):
        raise ModelError(f"the model's task is {task!r:.80}, not one of {', '.join(get_args(Task))}")
    if thresholds is None:
        return (DEFAULT,) * n_classes if task == "multi" else None
    if task == "single":
        raise ModelError("a model for one label an image has no thresholds: the most probable class is its answer")
    values = _as_tuple(thresholds)
    if not isinstance(values, tuple) or not all(_is_number(value) and 0 <= value <= 1 for value in values):
        raise ModelError(f"the model's thresholds {thresholds!r:.80} are not a list of numbers from 0 to 1")
    if len(values) != n_classes:
        raise ModelError(f"the model has {len(values)} thresholds and {n_classes} class names")
    return values


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_schema(schema: Any, written_by: Any = None) -> None:
    if type(schema) is not int or schema < 1:
        raise ModelError(f"the model record's schema is {schema!r:.80}, not a number from 1")
    if schema > SCHEMA:
        named = isinstance(written_by, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+]{0,29}", written_by)
        writer = f"imgclf {written_by}, and takes that or a later one" if named else "a newer version"
        raise ModelError(
            f"the model file has schema {str(schema)[:20]}; imgclf {__version__} reads up to schema {SCHEMA}",
            f"it was written by {writer}: pip install --upgrade imgclf",
        )


def _check_classes(classes: Any) -> None:
    if not isinstance(classes, tuple) or not 1 <= len(classes) <= MAX_CLASSES:
        raise ModelError("a model needs a list of class names")
    if not all(isinstance(name, str) and name for name in classes):
        raise ModelError("a class name is missing or not text")
    if len(set(classes)) != len(classes):
        twice = sorted({name for name in classes if classes.count(name) > 1})[:5]
        raise ModelError(f"class names must differ; more than once: {', '.join(twice)}")


def _check_preprocess(p: Preprocess) -> None:
    if type(p.size) is not int or not 1 <= p.size <= MAX_SIDE:
        raise ModelError(f"the model's image size {p.size!r:.80} is not a number of pixels from 1 to {MAX_SIDE}")
    if p.resize not in get_args(ResizeRule) or p.interpolation != "bilinear":
        raise ModelError(f"unknown resizing: {p.resize!r:.80}, {p.interpolation!r:.80}")
    channels: Any = p.channels  # whatever the file says
    if type(channels) is not int or channels not in (1, 3):
        raise ModelError(f"the model's channels {channels!r:.80} are not 1 (grey) or 3 (RGB)")
    for values, least in ((p.mean, -10.0), (p.std, 1e-6)):
        if len(values) != channels or not all(_is_number(value) and least <= value <= 10 for value in values):
            raise ModelError(f"the model's mean {p.mean!r:.80} or deviation {p.std!r:.80} cannot be right")
    share: Any = p.crop_pct
    if not _is_number(share) or not 0 < share <= 1 or (share < 1 and p.resize != "crop"):
        raise ModelError(f"the model's crop_pct {share!r:.80} is not a share of the shorter side, or not one of a crop")
    span: Any = p.grey_range
    if span is not None and not (len(span) == 2 and all(map(_is_number, span)) and span[0] < span[1]):
        raise ModelError(f"the model's range of grey {span!r:.80} is not two numbers, the lower one first")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
