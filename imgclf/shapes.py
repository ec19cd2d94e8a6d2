"""What the JSON files of a run hold, as far as it is read again: a run folder may be damaged, or come from anywhere.

Other keys may be there, and most of these may be missing, as in files of an earlier version.
"""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import Required, TypedDict

from imgclf.errors import ModelError

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Number = float  # or NaN, which a run that went astray may hold
Share = Annotated[float, Field(ge=0, le=1)]
Words = list[str]
Json = dict[str, Any]


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text).timestamp()
    except OverflowError as e:  # as of the year 1, which not every system can count from
        raise ValueError(str(e)) from e
    return text


def _whole(best: Json) -> Json:
    if "phase" in best and not {"epoch", "metric"} <= best.keys():
        raise ValueError("has a phase, but no epoch or metric")
    return best


class Interval(TypedDict):
    """A figure with its confidence interval."""

    value: Number | None
    low: Number | None
    high: Number | None
    n: Count


class Fixed(TypedDict, total=False):
    """What was done about leaks."""

    left_out: list[Any]
    groups_kept_together: Count


class Checks(TypedDict, total=False):
    """What was found in the data."""

    bad: Count
    duplicates: Count
    near_duplicates: Count
    leaks: Count
    conflicts: Count
    corrections: Count
    examples: dict[str, list[str | Words]]
    fixed: Fixed


class Curve(TypedDict):
    """How a learning rate moves."""

    shape: Literal["closed_form", "flat_cos", "one_cycle"]
    pct_start: Share
    div: Annotated[float, Field(gt=0, le=1e12)]


class Phase(TypedDict, total=False):
    """A phase of the plan."""

    name: Required[str]
    epochs: Required[Count]
    freeze_to: Required[int]
    lrs: Required[Annotated[list[Annotated[float, Field(ge=0, le=1e12)]], Field(max_length=1000)]]
    curve: Required[Curve]
    steps: Required[Count]
    sizes: list[Count] | None


class Plan(TypedDict):
    """The whole training."""

    reason: str
    phases: list[Phase]


class Rate(TypedDict, total=False):
    """A learning rate that was chosen."""

    value: Required[Number]
    reason: Required[str]
    suggestions: dict[str, Number | None]


class Best(TypedDict, total=False):
    """The best epoch."""

    phase: str
    epoch: Count
    metric: str
    error_rate: Number | None


class Unfreezing(TypedDict):
    """What unfreezing brought."""

    helped: bool
    metric: str
    phase: Literal["frozen", "probe"]
    frozen: Number
    best: Number


class RunMetrics(TypedDict, total=False):
    """Some figures of a run."""

    accuracy: Interval


class Result(TypedDict, total=False):
    """What a training reached."""

    best: Annotated[Best, AfterValidator(_whole)]
    metrics: RunMetrics
    n_train: Count
    n_valid: Count
    seconds: Number
    images_per_second: Number | None
    unfreezing: Unfreezing | None


class Manifest(TypedDict, total=False):
    """``manifest.json``."""

    status: Required[str]
    pid: int
    started: Annotated[str, AfterValidator(_time)]
    finished: Annotated[str, AfterValidator(_time)]
    error: str | None
    command: str
    resumed: Words
    processes: Count
    data_root: str
    layout: str | None
    arch: str | None
    weights: str | None
    device: str | None
    precision: str
    precision_reason: str | None
    decisions: Words
    versions: dict[str, str]
    checks: Checks | None
    plan: Plan | None
    learning_rates: dict[str, Rate]
    retries: list[Json]
    result: Result | None


class Anything(TypedDict):
    """Any JSON object."""


def read(path: Path, kind: Any, hint: str | None = None) -> Json:
    """The JSON of a file, if it is of this kind.

    Args:
        kind: One of the classes here, or one like them.

    Raises:
        ModelError: naming the first value that is not what it should be.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise ModelError(f"{path} cannot be read: {e}"[:400], hint) from e
    return check(path, data, kind, hint)


def check(path: Path, data: Any, kind: Any, hint: str | None = None) -> Json:
    """The JSON of a file as it is, if it is of this kind; raises as ``read`` does."""
    try:
        _reader(kind).validate_python(data)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        said = f"{where}: {first['msg']}" if where else "it is no JSON object"
        raise ModelError(f"{path} cannot be read: {said}", hint) from e
    return cast(Json, data)


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    kind.__pydantic_config__ = ConfigDict(strict=True)
    return TypeAdapter(kind)
