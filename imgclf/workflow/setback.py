"""A run whose numbers ran away: end it at its last good state, or go back there and on at lower rates."""

from dataclasses import asdict, replace

from imgclf import ranks, runs
from imgclf.errors import RunError
from imgclf.runs import Run
from imgclf.training import checkpoint, plan
from imgclf.training.checkpoint import Checkpoint
from imgclf.training.faults import Divergence
from imgclf.workflow import together
from imgclf.workflow.session import Session

AT_MOST = 3  # halvings in one run


def go_back(s: Session, run: Run, where: Divergence) -> Checkpoint:
    """The last good checkpoint with the learning rates of its phase and all later ones halved, if that is asked for.

    It takes the place of the checkpoint on the disk, and the manifest gets a line in ``retries``.

    Raises:
        RunError: if it is not asked for (``train.on_nan``), or after three times.
    """
    again = s.cfg.train.on_nan == "retry"
    path = run.file(runs.CHECKPOINT)
    saved = checkpoint.load(path, s.hardware.device)
    if not again or len(saved.halvings) == AT_MOST:
        raise _end(s, run, where, saved)
    first = saved.place.phase
    made = replace(saved, phases=plan.halved(saved.phases, first), halvings=(*saved.halvings, first))
    together.meet()  # all have read the checkpoint that is now replaced
    checkpoint.save(path, made) if ranks.is_first() else None
    rate = max(made.phases[first].lrs)
    retries = [*run.manifest().get("retries", []), {**asdict(where), "back_to": asdict(saved.place), "new_lr": rate}]
    run.update_manifest(retries=retries)
    s.terminal.warn(
        f"{where}; back to the last checkpoint, at half the learning rates: at most {rate:.2g} in this phase "
        f"({len(made.halvings)} of {AT_MOST} times)"
    )
    return made


def _end(s: Session, run: Run, where: Divergence, saved: Checkpoint) -> RunError:
    n = len(saved.halvings)
    tried = f", after the learning rates were halved {n} times" if n else ""
    best = "the best model so far and " if saved.best else ""
    precision = s.hardware.precision
    ways = [
        *([f"imgclf train --resume {run.path} --set train.on_nan=retry goes on at half the rate"] if not n else []),
        f"or train anew with a lower --lr (it was {saved.lr:g}), --set train.clip=1"
        + (f" or --set train.precision=fp32 (it was {precision})" if precision != "fp32" else ""),
    ]
    return RunError(f"{where}{tried}; {best}the last good checkpoint stay in {run.path}", "; ".join(ways))
