"""Train: scan, check, split, plan, learning rate, fit, best model, evaluate, report."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclf import __version__, disk, locks, memory, ranks, runs
from imgclf.config import dump
from imgclf.console import Terminal, finite, log_to, logger
from imgclf.data import location
from imgclf.data.garbage import seldom_collected
from imgclf.errors import Interrupted, ModelError
from imgclf.results import phases
from imgclf.results.multilabel import MultiEvaluation
from imgclf.runs import Run
from imgclf.schema import Config
from imgclf.workflow import environment, together, tracking
from imgclf.workflow.evaluate import Figures
from imgclf.workflow.events import Events, lines

if TYPE_CHECKING:
    from imgclf.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class TrainResult:
    """What a run reached; ``to_dict`` is the JSON of `imgclf train`."""

    run: Run
    status: str
    classes: tuple[str, ...]
    n_train: int
    n_valid: int
    arch: str
    pretrained: bool
    epochs_done: int
    best: dict[str, Any]
    evaluation: Figures
    lr: float
    seconds: float
    images_per_second: float
    unfreezing: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        figures = self.evaluation
        return {
            "run_dir": str(self.run.path), "status": self.status, "classes": list(self.classes),
            "n_train": self.n_train, "n_valid": self.n_valid, "arch": self.arch, "pretrained": self.pretrained,
            "epochs_done": self.epochs_done, "unfreezing": self.unfreezing,
            "best": {
                **self.best, "error_rate": figures.error_rate, "accuracy": figures.accuracy.value,
            },
            "metrics": finite(_metrics(figures)),  # of labels that no image has there is no figure
            "lr": self.lr, "seconds": round(self.seconds, 2), "images_per_second": round(self.images_per_second, 2),
        }  # fmt: skip


def _metrics(figures: Figures) -> dict[str, Any]:
    found = {"accuracy": asdict(figures.accuracy), "macro_f1": {"value": figures.macro_f1}}
    if isinstance(figures, MultiEvaluation):
        found |= {"accuracy_multi": {"value": figures.accuracy_multi}, "mAP": {"value": figures.mean_ap}}
    return found


def train(
    cfg: Config,
    *,
    runs_dir: Path = Path("runs"),
    name: str | None = None,
    terminal: Terminal | None = None,
    command: str = "",
    events: Path | None = None,
    trust: bool = False,
) -> TrainResult:
    """Train one classifier into a new run folder.

    Args:
        events: A file or pipe to which what happens is written as JSON lines.
        trust: Whether the code that ``model.custom_head`` names may run.

    Raises:
        UserError: of the kind that fits. ``Interrupted`` after a graceful stop: the run folder then holds the best
            model so far, evaluated.
    """
    location.location(cfg, needed=True)  # before the seconds that torch takes
    with seldom_collected():  # torch and fastai make a million objects, which stay
        from imgclf.training import archs, network, scores, weights

    terminal = together.voice(terminal)
    network.check_trust(cfg, trust)
    # A typo leaves no run folder behind, whose name would be taken when it is mended.
    scores.metric_names(cfg)
    weights.given(cfg)
    location.keep_out(cfg, runs_dir, "--runs-dir")
    manifest = {"command": command, "processes": ranks.world(), **environment.facts()}

    def create() -> Run:
        named = name or runs.new_name(runs_dir, archs.resolve(cfg).name)
        return runs.create(runs_dir, named, dump(cfg), manifest)

    with together.joined(cfg), listening(cfg, events, terminal) as heard:
        run = together.from_first(create)
        terminal.note(f"run: {run.path}")
        with writing(run), locks.held(run.path) as free:
            if not free:  # it was there for a moment without its lock
                raise taken(run)
            with logged(run), runs.recorded(run):
                return go(cfg, run, terminal, command, heard)


def writing(run: Run) -> contextlib.AbstractContextManager[None]:
    """Within the block, a disk that is full or refuses writing is an error that says so and how to go on."""
    return disk.explained(run.path, f"imgclf train --resume {run.path}")


def taken(run: Run) -> ModelError:
    """The refusal to train what another process is training."""
    return ModelError(
        f"{run.path} is being trained by another process ({run.manifest().get('pid')})",
        "wait for it, or stop it first: Ctrl-C there",
    )


@contextlib.contextmanager
def listening(cfg: Config, events: Path | None, terminal: Terminal) -> Iterator[Events]:
    """Open what listens to a run, before anything is done for it; it is closed with the block, whatever ends that.

    Raises:
        UserError: for a file that cannot be written, or a tracker that is not installed.
    """
    tracking.wanted(cfg)
    heard = events if ranks.is_first() else None
    made = Events(terminal, {f"--events {events}": lines(heard, cfg, terminal)} if heard else {})
    try:
        yield made
    finally:
        made.let_go()


def go(
    cfg: Config, run: Run, terminal: Terminal, command: str, events: Events, resumed: "Checkpoint | None" = None
) -> TrainResult:
    """Train in a run folder that is there, from its beginning or from a checkpoint.

    Raises:
        UserError: as ``train`` does; for a checkpoint also ``ModelError`` or ``DataError`` if data or plan are others.
    """
    started = time.perf_counter()
    events.listeners |= tracking.listeners(cfg, run) if ranks.is_first() else {}
    with events.until_the_end():
        events.tell(
            "start", run=run.name, run_dir=run.path, resumed=resumed is not None, pid=os.getpid(), command=command,
            imgclf_version=__version__, config=cfg.model_dump(mode="json"),
        )  # fmt: skip
        result = _train(cfg, run, terminal, command, events, resumed, started)
        events.tell("end", status=result.status, result=result.to_dict())
    memory.give_back()  # a program that goes on needs no more what the steps needed
    if result.status == "interrupted":
        raise Interrupted(
            f"interrupted after {result.epochs_done} whole epochs; the best model so far, evaluated, is in {run.path}",
            f"go on: imgclf train --resume {run.path}",
        )
    return result


def _train(
    cfg: Config,
    run: Run,
    terminal: Terminal,
    command: str,
    events: Events,
    resumed: "Checkpoint | None",
    started: float,
) -> TrainResult:
    from imgclf.workflow import fitting, keeping, look, planned, rates, report, session

    began = run.manifest() if ranks.is_first() else None
    so_far = resumed.phases if resumed else ()
    s = session.start(cfg, terminal, began=began, to_train=True, going_on=so_far)
    data = s.data.dataset
    if resumed:
        fitting.check_same(s, resumed, run)
        if ranks.is_first():
            run.update_manifest(resumed=[*run.manifest().get("resumed", []), command])
    _record(run, s) if ranks.is_first() else None
    s.announce()
    highest_lr = resumed.lr if resumed else rates.choose(s, run, events)
    plan = s.plan(highest_lr)
    if resumed:
        plan = replace(plan, phases=resumed.phases)  # they may have been extended
    s.announce_plan(plan)
    planned.record(run, plan)
    events.tell("plan", **_planned(s, plan))
    with s.explained(run):
        fitted = fitting.fit(s, run, plan, highest_lr, resumed, events)
        together.part()
        evaluation = keeping.judge(run, s, fitted, terminal)
    status: runs.Status = "interrupted" if fitted.interrupted else "finished"
    assert fitted.best is not None
    result = TrainResult(
        run, status, data.classes, len(data.train), len(data.valid), s.arch.name, s.weights.pretrained,
        len(fitted.rows), asdict(fitted.best), evaluation, highest_lr, time.perf_counter() - started,
        fitted.images_per_second, phases.unfreezing(fitted.rows, fitted.best.metric),
    )  # fmt: skip
    run.update_manifest(result=result.to_dict())
    look.batch_plot(cfg, s.loaders, run.file(runs.PLOTS) / "batch.png")
    report.write(run, str(s.hardware.device), True, terminal, status)  # its code, if any, has been run
    run.finish(status)  # last of all: a run that says so has everything
    return result


def _planned(s: Any, plan: Any) -> dict[str, Any]:
    """What will be trained on what, and how, as plain values."""
    data = s.data.dataset
    return {
        "classes": list(data.classes), "n_train": len(data.train), "n_valid": len(data.valid), "arch": s.arch.name,
        "pretrained": s.weights.pretrained, "device": str(s.hardware.device), "precision": s.hardware.precision,
        "batch_size": s.loaders.batch_size, "steps": plan.steps,
        "phases": [{"name": p.name, "epochs": p.epochs, "lrs": list(p.lrs)} for p in plan.phases],
    }  # fmt: skip


def _record(run: Run, s: Any) -> None:
    """Write down what a run is made of, before its first step."""
    from imgclf.workflow import suiting

    data = s.data.dataset
    runs.write_text(run.file(runs.SPLIT), s.data.split_csv)
    before = run.manifest()
    failed = {"error": None} if "error" in before else {}  # it goes on after all
    decided = dict.fromkeys([*before.get("decisions", []), *s.decisions])  # what was chosen then is not chosen again
    run.update_manifest(
        status="running", **runs.this_process(), **failed,
        data_root=str(data.root), fingerprint=s.data.fingerprint, checks=s.data.findings, layout=s.data.samples.layout,
        classes=len(data.classes), arch=s.arch.name,
        pretrained=s.weights.pretrained, weights=s.weights.note, device=str(s.hardware.device),
        precision=s.hardware.precision, **suiting.record(s.loaders),
        decisions=list(decided), **_precision_reason(s.hardware.reason),
    )  # fmt: skip


def _precision_reason(reason: str) -> dict[str, str]:
    """Why the run has its precision; nothing where it goes on in it: the manifest has the first reason."""
    from imgclf.training import devices

    return {} if reason == devices.BEGUN else {"precision_reason": reason}


@contextlib.contextmanager
def logged(run: Run) -> Iterator[None]:
    """Keep what the user is told, and how it ended, in the run's log; of several processes the first does."""
    if not ranks.is_first():
        yield
        return
    handler = log_to(run.file(runs.LOG))
    logger.info("imgclf %s: %s", __version__, " ".join(sys.argv))
    try:
        yield
    except BaseException as e:
        logger.error("ended by %s: %s", type(e).__name__, str(e))  # a record that is kept keeps no frames alive
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
