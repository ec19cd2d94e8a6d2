"""The fit of a run, with its display, its checkpoint and its history; from the beginning or from a checkpoint."""

import csv
import io
from dataclasses import asdict, replace
from typing import Any

from imgclf import ranks, runs
from imgclf.errors import DataError, ModelError
from imgclf.runs import Run
from imgclf.training import checkpoint
from imgclf.training import fit as fits
from imgclf.training import plan as plans
from imgclf.training.best import KeepBest
from imgclf.training.checkpoint import Checkpoint, Place
from imgclf.training.display import Display
from imgclf.training.faults import Diverged
from imgclf.training.fit import Fitted
from imgclf.training.interrupt import StopRequest, graceful
from imgclf.training.plan import Plan
from imgclf.training.saver import Saver
from imgclf.training.telling import Telling
from imgclf.training.watch import Watch
from imgclf.workflow import keeping, planned, rates, setback, together
from imgclf.workflow.events import Events
from imgclf.workflow.session import Session


def fit(s: Session, run: Run, plan: Plan, lr: float, resumed: Checkpoint | None, events: Events) -> Fitted:
    """Fit the plan, or what is left of it, into the run folder.

    Raises:
        RunError: if the numbers ran away (``train.on_nan``) or memory ran out for good.
    """

    def stopping() -> None:
        s.terminal.warn("stopping after this batch; Ctrl-C again stops at once")

    def record_parts() -> None:
        run.update_manifest(micro_batch=s.learn.micro_batches.size)

    s.learn.micro_batches.changed = record_parts
    record_parts()
    with graceful(stopping) as request:
        while True:
            try:
                return _fit(s, run, plan, lr, resumed, events, request)
            except Diverged as e:
                resumed = setback.go_back(s, run, e.where)
                plan = replace(plan, phases=resumed.phases)
                planned.record(run, plan)
                events.tell("retry", next=asdict(resumed.place), reason=str(e))


def _fit(
    s: Session, run: Run, plan: Plan, lr: float, resumed: Checkpoint | None, events: Events, request: StopRequest
) -> Fitted:
    metric, score = next(iter(s.scores.items()))
    writes = ranks.is_first()
    write_bundle = keeping.bundle_writer(run, s, lr)

    def write_best(learn: Any) -> None:
        write_bundle(learn)
        assert keep.best is not None
        events.tell("best", **asdict(keep.best), path=run.file(runs.WEIGHTS))

    keep = KeepBest(metric, score, write_best if writes else _nothing)

    def save(place: Place, state: dict[str, Any]) -> None:
        if not writes:
            return
        halvings = resumed.halvings if resumed else ()
        made = Checkpoint(place, lr, saver.plan.phases, s.data.fingerprint, keep.best, watch.rows, state, halvings)
        checkpoint.save(run.file(runs.CHECKPOINT), made)
        events.tell("checkpoint", next=asdict(place), path=run.file(runs.CHECKPOINT))

    def complete(plan: Plan, number: int) -> Plan:
        made = rates.completed(s, run, plan, number, lr, events, lambda: watch.request.asked)
        planned.record(run, made)
        return made

    def write_rows(rows: list[dict[str, Any]]) -> None:
        write_history(run, rows)

    columns = ["train_loss", "valid_loss", *s.scores]
    with Display(s.terminal, columns, plan.steps) as display:
        if s.learn.probe:
            s.learn.probe.seen = display.reading
        watch = Watch(display, keep, together.deciding(s.learn, request), list(s.scores))
        if resumed:
            display.resume(resumed.rows, _steps(plan, resumed.place))
        saver = Saver(s.cfg, plan, watch, save, write_rows if writes else _nothing, resumed)
        with s.learn.added_cbs(Telling(events.tell, watch, plan)):
            return fits.fit(
                s.learn, plan, cfg=s.cfg, keep=keep, watch=watch, saver=saver, familiar=s.familiar, complete=complete
            )


def _nothing(*_: object) -> None:
    """What the other processes write."""


def check_same(s: Session, resumed: Checkpoint, run: Run) -> None:
    """Refuse to go on with other data or another plan than those of the checkpoint.

    Raises:
        DataError: for images that were added, removed or changed, or have other labels or another split.
        ModelError: for a plan of other phases, as another version may make.
    """
    if s.data.fingerprint != resumed.fingerprint:
        raise DataError(
            f"the images are not those {run.name} was trained on: their hash is {s.data.fingerprint}, "
            f"it was {resumed.fingerprint}",
            f"put them back ({run.file(runs.SPLIT)} lists them with their hashes), or train a new run",
        )
    if changed := _changed(s, run):
        raise DataError(
            f"labels or split are not those {run.name} was trained with: {len(changed)} images differ, such as "
            f"{changed[0]}",
            f"put them back ({run.file(runs.SPLIT)} lists them), or train a new run",
        )
    made = s.plan(resumed.lr).phases
    for first in resumed.halvings:
        made = plans.halved(made, first)
    known = tuple(old if new.lrs else replace(old, lrs=()) for new, old in zip(made, resumed.phases, strict=False))
    if made != known:  # but for rates found on the way
        raise ModelError(
            f"the plan of {run.name} is {resumed.phases}, this imgclf and machine make it {made}",
            "resume with the version in manifest.json, and with the same pretrained weights at hand",
        )


def _changed(s: Session, run: Run) -> list[str]:
    """The images whose row in the run's ``split.csv`` would be another now."""
    file = run.file(runs.SPLIT)
    known = set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else None
    changed = [row for row in s.data.split_csv.splitlines() if known is not None and row not in known]
    return [next(csv.reader([row]))[0] for row in changed]


def write_history(run: Run, rows: list[dict[str, Any]]) -> None:
    """``history.csv``: a row per epoch over all phases; what a phase has not, such as a size, is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, max(map(list, rows), key=len), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    runs.write_text(run.file(runs.HISTORY), text.getvalue())


def _steps(plan: Plan, place: Place) -> int:
    """The training steps before a place."""
    epochs = sum(phase.epochs_of_steps for phase in plan.phases[: place.phase]) + place.epoch
    return epochs * plan.batches_per_epoch + place.batch
