"""The runs so far: their main figures, how their configurations differ, how the validation loss went."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from imgclf import runs, untrusted_yaml
from imgclf.console import finite
from imgclf.errors import ConfigError, ModelError, UserError, did_you_mean
from imgclf.runs import Run
from imgclf.schema import flat

Row = dict[str, Any]

# How `runs list --sort` orders: the best, newest or quickest first; runs without such a figure last.
ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row["name"],
    "started": lambda row: None if row["started"] is None else -datetime.fromisoformat(row["started"]).timestamp(),
    "error_rate": lambda row: row["error_rate"],
    "valid_loss": lambda row: min((v for v in row["valid_loss"] if v is not None), default=None),
    "seconds": lambda row: row["seconds"],
    "n_valid": lambda row: None if row["n_valid"] is None else -row["n_valid"],
    "arch": lambda row: row["arch"],
    "status": lambda row: row["status"],
}


def listed(runs_dir: Path, order: str = "name") -> list[Row]:
    """A row a run; ``differs`` has the keys in which not all of them agree, with the run's own values.

    Raises:
        UserError: for an unknown order.
    """
    if order not in ORDERS:
        raise UserError(f"--sort: no order '{order}'.{did_you_mean(order, ORDERS)}", f"one of {', '.join(ORDERS)}")
    found = runs.all_runs(runs_dir)
    settings = [configuration(run) for run in found]
    keys = differing([s for s in settings if s])
    rows = [main_figures(run) for run in found]
    for row, own in zip(rows, settings, strict=True):
        row["differs"] = {key: own[key] for key in keys} if own else None
    key = ORDERS[order]
    known = [row for row in rows if key(row) is not None]
    return sorted(known, key=key) + [row for row in rows if key(row) is None]


def main_figures(run: Run) -> Row:
    """What a list shows of a run, whatever state it is in."""
    status = runs.status(run)
    manifest = {} if status == "damaged" else run.manifest()
    result = manifest.get("result") or {}
    return {
        "name": run.name,
        "status": status,
        "arch": manifest.get("arch"),
        "error_rate": result.get("best", {}).get("error_rate"),
        "n_valid": result.get("n_valid"),
        "seconds": result.get("seconds"),
        "started": manifest.get("started"),
        "valid_loss": valid_losses(run),
    }


def details(run: Run) -> Row:
    """Everything about one run: its manifest, its files, what changed since the run before it."""
    before = previous(run)
    own = configuration(run)
    theirs = configuration(before) if before else None
    return {
        **run.manifest(),
        "run_dir": str(run.path),
        "valid_loss": valid_losses(run),
        "previous": before.name if before else None,
        "changes": changes(theirs, own) if own and theirs else None,
        "files": sorted(p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()),
    }


def previous(run: Run) -> Run | None:
    """The run in the same folder that was started last before this one."""
    began = run.manifest().get("started", "")
    others = [(_started(other), other) for other in runs.all_runs(run.path.parent) if other.name != run.name]
    earlier = [(start, other) for start, other in others if start and start < began]
    return max(earlier, key=lambda pair: pair[0])[1] if earlier else None


def configuration(run: Run) -> dict[str, Any] | None:
    """Every key of the run's ``config.yaml`` with its value, unchecked, as it may be of another version; else None."""
    try:
        text = run.file(runs.CONFIG).read_text(encoding="utf-8")
        values = untrusted_yaml.parse(text, str(run.path), "safe")
    except (OSError, UnicodeDecodeError, ConfigError):
        return None
    return flat(finite(values)) if isinstance(values, dict) else None


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that all configurations have, and whose values are not all the same, in the order of the first."""
    shared = [key for key in (settings[0] if settings else {}) if all(key in s for s in settings)]
    return [key for key in shared if len({json.dumps(s[key], sort_keys=True, default=str) for s in settings}) > 1]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The keys that changed, each with its value before and now."""
    return {key: [before[key], now[key]] for key in differing([before, now])}


def valid_losses(run: Run) -> list[float | None]:
    """The validation loss of each epoch over all phases; None where it was no number."""
    try:
        return [_number(row.get("valid_loss")) for row in history_rows(run)]
    except ModelError:  # a damaged file must not hide the other runs
        return []


def history_rows(run: Run) -> list[dict[str, str]]:
    """The rows of ``history.csv`` as text; none where it is missing.

    Raises:
        ModelError: if it cannot be read.
    """
    path = run.file(runs.HISTORY)
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise ModelError(f"cannot read the history {path}: {e}", "restore the file, or remove it") from e
    return [{name: text for name, text in row.items() if name is not None} for row in rows]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _started(run: Run) -> str:
    return "" if runs.status(run) == "damaged" else str(run.manifest().get("started", ""))
