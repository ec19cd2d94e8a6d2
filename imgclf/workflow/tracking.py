"""Feed the trackers a run has (``train.trackers``) with its events, each step once however often the run is resumed."""

import json
import time
from importlib.util import find_spec
from typing import Any

from imgclf import runs
from imgclf.data import network
from imgclf.errors import missing
from imgclf.runs import Run
from imgclf.schema import Config, flat
from imgclf.workflow.events import Listener
from imgclf.workflow.trackers import TRACKERS, Opening, Row, Tracker

HAND_OVER_SECONDS = 10.0  # at most so long a step waits, unless its epoch ends before


def wanted(cfg: Config) -> tuple[str, ...]:
    """The names of the configured trackers.

    Raises:
        PackageError: if a package one of them needs is not installed.
    """
    names = cfg.train.trackers
    for name in names:
        lacking = [module for module in TRACKERS[name][1] if find_spec(module) is None]
        if lacking:
            raise missing(f"train.trackers: {name}", lacking[0], name)
    return names


def listeners(cfg: Config, run: Run) -> dict[str, Listener]:
    """The configured trackers of a run, as listeners to its events."""
    return {f"train.trackers: {name}": Tracked(name, run, cfg) for name in wanted(cfg)}


class Tracked:
    """One tracker as a listener.

    Values wait for a few seconds and are handed over together. ``RUN/trackers/NAME.json`` then says up to which step
    the tracker has those of steps and of epochs: what a resumed run computes once more is not logged twice.
    """

    def __init__(self, name: str, run: Run, cfg: Config) -> None:
        self.name, self.run, self.network = name, run, not network.forbidden(cfg)
        self.note = run.file(runs.TRACKERS) / f"{name}.json"
        self.id, self.done = self._noted()
        self.rows: list[Row] = []
        self.added = dict(self.done)
        self.tracker: Tracker | None = None
        self.params: dict[str, Any] = {}
        self.handed_over = time.monotonic()

    def hear(self, event: dict[str, Any]) -> None:
        """Act on an event: open with the plan, log steps and epochs, close at the end."""
        match event["event"]:
            case "start":
                self.params = hyperparameters(event["config"])
            case "plan":
                facts = ("arch", "pretrained", "n_train", "n_valid", "steps", "device", "precision")
                self._open({**self.params, **{f"plan.{fact}": event[fact] for fact in facts}})
            case "step":
                self._add(event, step_values(event))
            case "epoch":
                self._add(event, epoch_values(event))
                self._hand_over()
            case "end" if self.tracker:
                self._hand_over()
                self.tracker.finish(event["status"], figures(event.get("result")), self.done["step"])
                self.tracker = None

    def close(self) -> None:
        """Nothing is left to do after the end."""

    def _open(self, params: dict[str, Any]) -> None:
        folder = self.run.file(runs.TRACKERS) / self.name
        opening = Opening(folder, self.run.name, self.id, self.done["step"], params, self.network)
        self.tracker = TRACKERS[self.name][0](opening)
        self.id = self.tracker.id
        self._write()

    def _add(self, event: dict[str, Any], values: dict[str, float]) -> None:
        kind, step = event["event"], event["step"]
        if step > self.added[kind]:
            self.rows.append((step, values))
            self.added[kind] = step
        if time.monotonic() - self.handed_over >= HAND_OVER_SECONDS:
            self._hand_over()

    def _hand_over(self) -> None:
        if self.rows and self.tracker:
            self.tracker.log(merged(self.rows))
            self.done, self.rows = dict(self.added), []
            self._write()
        self.handed_over = time.monotonic()

    def _write(self) -> None:
        runs.write_json(self.note, {"id": self.id, **self.done})

    def _noted(self) -> tuple[str | None, dict[str, int]]:
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            return str(noted["id"]), {kind: int(noted[kind]) for kind in ("step", "epoch")}
        except (OSError, ValueError, KeyError, TypeError):  # a new run, or one that was not tracked so far
            return None, {"step": 0, "epoch": 0}


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys and plain values; lists and tables as JSON."""
    return {
        key: leaf if isinstance(leaf, bool | int | float | str) else json.dumps(leaf)
        for key, leaf in flat(config).items()
    }


def step_values(event: dict[str, Any]) -> dict[str, float]:
    """What is logged of a training step: its loss, unsmoothed, and the learning rate of each layer group."""
    lrs = event["lrs"]
    names = ["step/lr"] if len(lrs) == 1 else [f"step/lr_group{i}" for i in range(len(lrs))]
    return numbers({"step/train_loss": event["train_loss"], **dict(zip(names, lrs, strict=True))})


def epoch_values(event: dict[str, Any]) -> dict[str, float]:
    """What is logged of an epoch: the losses and metrics of its row in the history."""
    other = ("version", "epoch", "epochs", "step", "best", "lr")
    return numbers({f"epoch/{key}": value for key, value in event.items() if key not in other})


def figures(result: dict[str, Any] | None) -> dict[str, float]:
    """The final figures of a run's result; none for one that failed."""
    if result is None:
        return {}
    found = {"error_rate": result["best"]["error_rate"], "valid_loss": result["best"]["valid_loss"]}
    for name, metric in result["metrics"].items():
        found |= {name if key == "value" else f"{name}_{key}": value for key, value in metric.items()}
    return numbers({f"final/{key}": value for key, value in (found | {"seconds": result["seconds"]}).items()})


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Only the numbers: no text, and no NaN or infinity, which events have as None."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def merged(rows: list[Row]) -> list[Row]:
    """One row a step: the last step of an epoch has the epoch's values too."""
    found: dict[int, dict[str, float]] = {}
    for step, values in rows:
        found.setdefault(step, {}).update(values)
    return list(found.items())
