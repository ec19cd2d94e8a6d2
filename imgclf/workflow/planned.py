"""The plan of a run in its manifest, as it was fitted: rates found or halved on the way are written down again."""

from dataclasses import asdict
from typing import Any

from imgclf.runs import Run
from imgclf.training.plan import Plan

KEY = "plan"  # in the manifest


def record(run: Run, plan: Plan) -> None:
    """Keep phases, steps and learning rates, and why these phases."""
    phases = [{**asdict(phase), "steps": phase.epochs_of_steps * plan.batches_per_epoch} for phase in plan.phases]
    found: dict[str, Any] = {"reason": plan.reason, "batches_per_epoch": plan.batches_per_epoch, "phases": phases}
    run.update_manifest(**{KEY: found})
