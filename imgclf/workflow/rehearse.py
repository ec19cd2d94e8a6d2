"""``train --dry-run``: one batch through every later step, then an estimate; nothing is left behind."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgclf import runs
from imgclf.console import Terminal
from imgclf.errors import ExportError, PackageError
from imgclf.runs import Run
from imgclf.schema import Config

PLACEHOLDER_LR = 1e-3


def rehearse(cfg: Config, terminal: Terminal | None = None, trust: bool = False) -> dict[str, Any]:
    """Plan, one batch through each phase, save, reload, predict, export and compare.

    Returns:
        ``{"plan", "steps", "seconds_per_step": {phase: s}, "estimated_seconds", "exports": {format: passed | why}}``.

    Raises:
        UserError: whatever the run itself would raise.
    """
    from imgclf.training import network
    from imgclf.training.fit import FirstBatchOnly, run_phase
    from imgclf.training.seeding import SeedEpochs
    from imgclf.workflow import rates, session

    terminal = terminal or Terminal(quiet=True)
    network.check_trust(cfg, trust)
    s = session.start(cfg, terminal, to_train=True)
    s.announce()
    if s.lr_is_known:
        lr = rates.choose(s)
    else:
        lr = PLACEHOLDER_LR
        terminal.note(f"learning rate: to be found; the rehearsal uses {lr:g}")
    plan = s.plan(lr, unfrozen=lr / 2)
    s.announce_plan(plan)
    seconds, estimate = {}, 0.0
    for phase in (part for whole in plan.phases for part in whole.parts):
        if not phase.epochs_of_steps:
            seconds[phase.name] = s.learn.probe.one_batch(s.learn)
            estimate += seconds[phase.name] * (len(s.loaders.dls.train) + len(s.loaders.dls.valid))
            terminal.note(f"{phase.name}: {seconds[phase.name]:.2f} s for the features of a batch")
            continue
        s.learn.freeze_to(phase.freeze_to)
        name = f"{phase.name}, {phase.sizes[0]} px" if phase.sizes else phase.name
        once = replace(phase, epochs=1)
        timed = FirstBatchOnly()
        for _ in range(2):  # the first time warms up caches and kernels
            with s.explained():
                run_phase(s.learn, once, [SeedEpochs(cfg, phase.name), timed])
        seconds[name] = timed.train_seconds
        estimate += phase.epochs * (
            timed.train_seconds * plan.batches_per_epoch + timed.valid_seconds * len(s.loaders.dls.valid)
        )
        terminal.note(
            f"{name}: {timed.train_seconds:.2f} s for a training batch, "
            f"{timed.valid_seconds:.2f} s for one of validation"
        )
    with tempfile.TemporaryDirectory(prefix="imgclf-rehearsal-") as folder:
        exports = _ship(s, Path(folder), lr, terminal)
    terminal.note(
        f"estimate: about {estimate:,.0f} s for {plan.steps} steps with validation; looking at the data, "
        f"{'' if s.lr_is_known else 'the learning-rate finder, '}judging and report not counted"
    )
    return {
        "plan": [
            {"phase": p.name, "epochs": p.epochs, "lrs": list(p.lrs), "sizes": list(p.sizes)} for p in plan.phases
        ],
        "steps": plan.steps, "seconds_per_step": seconds, "estimated_seconds": estimate, "exports": exports,
    }  # fmt: skip


def _ship(s: Any, folder: Path, lr: float, terminal: Terminal) -> dict[str, Any]:
    """Save, reload and export what the two batches made; the code of a custom head has been run by then."""
    from imgclf.shipping import exporters, verify
    from imgclf.workflow import keeping
    from imgclf.workflow.export import REHEARSED, SUFFIXES, spread

    run = Run(folder)
    keeping.bundle_writer(run, s, lr)(s.learn)
    terminal.note(f"bundle: {run.file(runs.WEIGHTS).stat().st_size / 1e6:.1f} MB, saved and reloaded")
    images = spread(s.data.dataset.root, s.data.dataset.valid, 4)
    found: dict[str, Any] = {}
    for name in REHEARSED:
        try:
            file = exporters.export(folder, name, run.file(runs.EXPORT) / f"model{SUFFIXES[name]}", trust=True)
        except (ExportError, PackageError) as e:
            found[name] = e.message
            terminal.note(f"export {name}: not possible here: {e.message}")
            continue
        result = verify.check(file, name, folder, images, trust=True)
        found[name] = result.passed
        terminal.note(f"export {name}: largest difference {result.max_abs_diff:.1e} on {result.n_images} images")
    return found
