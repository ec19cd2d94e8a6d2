"""One run for people, from what `runs show --json` has of it: what it reached, how, and in what it differs."""

from collections.abc import Callable, Mapping
from typing import Any

from imgclf.console import cell

Row = Mapping[str, Any]
FINDINGS = ("bad", "duplicates", "near_duplicates", "leaks", "conflicts", "corrections")


def rows(run: Row) -> list[tuple[str, str]]:
    """Names and values, those that are known."""
    found = [(name, tell(run)) for name, tell in FACTS.items()]
    return [(name, text) for name, text in found if text]


def curve(losses: list[float | None]) -> str:
    """How the loss went, and the last value: ``█▅▂▁ 0.35``."""
    from imgclf.results.sparkplot import sparkline

    known = [loss for loss in losses if loss is not None]
    return f"{sparkline(losses)} {known[-1]:.3g}" if known else ""


def _text(*keys: str) -> Callable[[Row], str]:
    """The values of some keys, one after the other."""
    return lambda run: ", ".join(cell(run[key]) for key in keys if run.get(key) not in (None, ""))


def _result(run: Row) -> Row:
    return run.get("result") or {}


def _status(run: Row) -> str:
    return f"{run['status']}: {run['error']}" if run.get("error") else str(run["status"])


def _when(run: Row) -> str:
    seconds = _result(run).get("seconds")
    return f"{run.get('started', '')[:16].replace('T', ' ')}" + (f", {seconds:.0f} s" if seconds is not None else "")


def _error(run: Row) -> str:
    """With the interval, which is that of the accuracy seen from the other end."""
    result = _result(run)
    accuracy, error = result.get("metrics", {}).get("accuracy"), result.get("best", {}).get("error_rate")
    if error is None:
        return ""
    if not accuracy or None in (accuracy["low"], accuracy["high"]):
        return f"{error:.3f}"
    return f"{error:.3f} ({1 - accuracy['high']:.3f}–{1 - accuracy['low']:.3f}, n={accuracy['n']})"


def _best(run: Row) -> str:
    best = _result(run).get("best", {})
    return f"{best['phase']} {best['epoch']}, by {best['metric']}" if "phase" in best else ""


def _phase(phase: Row) -> str:
    epochs = f"{phase['epochs']} epoch{'s' * (phase['epochs'] != 1)}"
    if phase["curve"]["shape"] == "closed_form":
        return f"{phase['name']}: computed"
    rates = " … ".join(f"{lr:.2g}" for lr in dict.fromkeys(phase["lrs"])) or "not found"
    return f"{phase['name']}: {epochs}, {phase['steps']} steps, lr {rates}"


def _plan(run: Row) -> str:
    plan = run.get("plan")
    return "\n".join([*map(_phase, plan["phases"]), plan["reason"]]) if plan else ""


def _rates(run: Row) -> str:
    return "\n".join(f"{kept['value']:g}: {kept['reason']}" for kept in run.get("learning_rates", {}).values())


def _images(run: Row) -> str:
    result = _result(run)
    if "n_train" not in result or "n_valid" not in result:
        return ""
    return f"{result['n_train']:,} for training, {result['n_valid']:,} for validation"


def _findings(run: Row) -> str:
    checks = run.get("checks")
    if not checks:
        return ""
    return ", ".join(f"{checks[k]} {k.replace('_', ' ')}" for k in FINDINGS if checks.get(k)) or "nothing found"


def _changes(run: Row) -> str:
    if run.get("previous") is None:
        return ""
    found = run["changes"]
    if found is None:
        return f"since {run['previous']}: unknown"
    lines = [f"{key}: {cell(before)} → {cell(now)}" for key, (before, now) in found.items()]
    return "\n".join([f"since {run['previous']}:{'' if lines else ' nothing'}", *lines])


FACTS: dict[str, Callable[[Row], str]] = {
    "run": _text("run_dir"),
    "status": _status,
    "started": _when,
    "data": _text("data_root", "layout"),
    "images": _images,
    "check": _findings,
    "model": _text("arch", "weights"),
    "device": _text("device", "precision"),
    "error rate": _error,
    "best epoch": _best,
    "validation loss": lambda run: curve(run["valid_loss"]),
    "plan": _plan,
    "learning rate": _rates,
    "decided": lambda run: "\n".join(run.get("decisions", [])),
    "changed": _changes,
    "command": _text("command"),
    "resumed": lambda run: "\n".join(run.get("resumed", [])),
    "made with": lambda run: ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items()),
    "files": lambda run: ", ".join(run["files"]),
}
