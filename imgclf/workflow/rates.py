"""The learning rates of a run: given or found, and why; kept in its manifest, with the finder's data and picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgclf import ranks, runs
from imgclf.errors import ConfigError
from imgclf.runs import Run
from imgclf.training.lr import Found
from imgclf.training.plan import Phase, Plan
from imgclf.workflow import together
from imgclf.workflow.events import Events
from imgclf.workflow.session import Session

KEY = "learning_rates"  # in the manifest


def choose(s: Session, run: Run | None = None, events: Events | None = None) -> float:
    """``train.lr``, or what the finder says; recorded in the run, if there is one."""
    events = events or Events()
    if s.given_lr is not None:
        events.tell("lr", lr=s.given_lr, reason="as given")
        s.terminal.note(f"learning rate: {s.given_lr:g}, as given")
        record(run, "lr", {"value": s.given_lr, "reason": "as given"})
        return float(s.given_lr)
    if s.recipe_lr:
        lr, why = s.recipe_lr
        key = "train.lr_unfrozen=auto" if s.probe else "train.schedule=one_cycle"
        other = "" if s.finds_unfrozen else f"; --set {key} looks for one"
        events.tell("lr", lr=lr, reason=why)
        if s.takes_steps:
            s.terminal.note(f"learning rate: {lr:g}, {why}{other}")
        record(run, "lr", {"value": lr, "reason": why})
        return lr
    s.terminal.note("learning rate: looking for one (--lr NUMBER skips this)")
    found = together.agreed(s.find_lr())
    events.tell("lr", lr=found.chosen, reason=found.reason, suggestions=found.suggestions)
    s.terminal.note(f"learning rate: {found.chosen:g} ({found.reason})")
    keep(run, "lr", found, runs.LR_FIND_DATA, runs.LR_FIND_PLOT)
    return float(found.chosen)


def completed(
    s: Session, run: Run, plan: Plan, number: int, lr: float, events: Events, done: Callable[[], object]
) -> Plan:
    """The plan with the rates that were still to be found: a sweep on the model as the phase before left it.

    Args:
        number: Of the phase, which is next.
        done: Called after each step of the sweep; true: end it there.
    """
    phase = plan.phases[number]
    s.terminal.note(f"{phase.name}: looking for its learning rate, the body training (train.lr_unfrozen: auto)")
    found = together.agreed(s.find_unfrozen_lr(lr, done))
    events.tell("lr", phase=phase.name, lr=found.chosen, reason=found.reason, suggestions=found.suggestions)
    rates = s.plan(lr, found.chosen).phases[number].lrs
    s.terminal.note(f"{phase.name}: learning rate {found.chosen:g} ({found.reason})")
    keep(run, "lr_unfrozen", found, runs.LR_FIND_UNFROZEN_DATA, runs.LR_FIND_UNFROZEN_PLOT)
    return replace(plan, phases=(*plan.phases[:number], replace(phase, lrs=rates), *plan.phases[number + 1 :]))


def after_first(s: Session) -> Found:
    """Train the first phase as a run would, then sweep with the body training.

    For `imgclf lrfind --unfrozen`, and for any `imgclf lrfind` where that phase is the probe and needs no rate.

    Raises:
        ConfigError: if the plan has no two such phases.
    """
    lr = choose(s)
    phases = s.plan(lr).phases
    if [phase.name for phase in phases][1:] != ["unfrozen"]:
        raise ConfigError(
            f"--unfrozen: there is no frozen phase before an unfrozen one, only {', '.join(p.name for p in phases)}",
            "leave it out, or ask for them: --set train.schedule=fine_tune --freeze-epochs 1",
        )
    s.terminal.note(f"training the {phases[0].name} phase: {_epochs(phases[0])}")
    s.first_phase(phases[0])
    s.learn.freeze_to(phases[1].freeze_to)
    s.learn.model.zero_grad(set_to_none=True)
    return s.find_unfrozen_lr(lr)


def keep(run: Run | None, name: str, found: Found, data: str, picture: str) -> None:
    """Write a sweep and its result into the run folder."""
    if run is None or not ranks.is_first():
        return
    record(run, name, {"value": found.chosen, "reason": found.reason, "suggestions": found.suggestions})
    runs.write_json(run.file(data), finder_data(found))
    draw(found, run.file(picture))


def draw(found: Found, path: Path) -> None:
    """A sweep as a picture."""
    from imgclf.results import plots

    known = {name: rate for name, rate in found.suggestions.items() if rate is not None}
    plots.lr_find_plot(found.lrs, found.losses, known, found.chosen, path)


def record(run: Run | None, name: str, facts: dict[str, Any]) -> None:
    """Keep a rate and its reason in the manifest."""
    if run is not None and ranks.is_first():
        run.update_manifest(**{KEY: {**run.manifest().get(KEY, {}), name: facts}})


def facts(kept: dict[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says of the rates, for the report.

    Args:
        kept: Its entry ``KEY``.
    """
    names = {"lr": "learning rate", "lr_unfrozen": "learning rate, unfrozen"}
    return [(text, _sentence(kept[name])) for name, text in names.items() if name in kept]


def finder_data(found: Found) -> dict[str, Any]:
    """The finder's result as plain values, for ``lr_find.json`` and `imgclf lrfind --json`."""
    return {
        "suggestions": found.suggestions, "chosen": found.chosen, "reason": found.reason,
        "lrs": found.lrs, "losses": [loss if abs(loss) < float("inf") else None for loss in found.losses],
    }  # fmt: skip


def _sentence(kept: dict[str, Any]) -> str:
    suggestions = [f"{k} {v:.2g}" for k, v in kept.get("suggestions", {}).items() if v is not None]
    return f"{kept['value']:g}: {kept['reason']}" + (f" (suggestions: {', '.join(suggestions)})" if suggestions else "")


def _epochs(phase: Phase) -> str:
    return f"{phase.epochs} epoch{'s' * (phase.epochs != 1)}, learning rate up to {phase.lrs[-1]:g}"
