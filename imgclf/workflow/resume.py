"""Go on with a run that was killed, stopped or failed, as if nothing had happened."""

from dataclasses import replace
from pathlib import Path

from imgclf import locks, ranks, runs
from imgclf.config import load
from imgclf.console import Terminal
from imgclf.errors import ConfigError, ModelError
from imgclf.runs import Run
from imgclf.schema import Config, flat, leaves
from imgclf.workflow import together
from imgclf.workflow.train import TrainResult, go, listening, logged, taken, writing

# What may differ when a run goes on. None of them changes what is computed, but for another kind of device, and
# train.on_nan where a run without it would have ended. What files say is compared with what it was (``check_same``).
MAY_CHANGE = (
    "data.cache",
    "data.cache_gb",
    "data.corrections",
    "data.path",
    "data.split",
    "data.workers",
    "offline",
    "train.baselines",
    "train.checkpoint_minutes",
    "train.device",
    "train.devices",
    "train.on_nan",
    "train.trackers",
)


def resume(
    cfg: Config,
    run: Run,
    terminal: Terminal | None = None,
    command: str = "",
    extend: int | None = None,
    events: Path | None = None,
    trust: bool = False,
) -> TrainResult:
    """Train the rest of a run: the result equals, bit for bit on a processor, that of a run never stopped.

    Args:
        cfg: The run's own configuration; keys of ``MAY_CHANGE`` may differ.
        extend: Epochs to add to a finished run, as one more cycle.
        events: A file or pipe to which what happens is written as JSON lines.
        trust: Whether the code that ``model.custom_head`` names may run.

    Raises:
        ModelError: if the run is finished, another process trains it, or its checkpoint cannot be used.
        ConfigError: for a key that must not change.
        DataError: if the images are others. Nothing is changed by a refusal.
    """
    from imgclf.training import checkpoint, devices, network, plan
    from imgclf.workflow import suiting

    terminal = together.voice(terminal)
    network.check_trust(cfg, trust)
    check_keys(load(str(run.file(runs.CONFIG))).config, cfg)
    with together.joined(cfg), writing(run), locks.held(run.path) as free:
        manifest = run.manifest()
        if not free:
            raise taken(run)
        _check_status(run, manifest["status"], extend)
        _check_processes(manifest.get("processes", 1))
        runs.sweep(run.path) if ranks.is_first() else None
        begun = run.file(runs.CHECKPOINT).exists() or run.file(runs.HISTORY).exists()
        saved = checkpoint.load(run.file(runs.CHECKPOINT), devices.resolve(cfg).device) if begun else None
        if saved and extend:
            familiar = suiting.recorded(manifest).suits_body
            saved = replace(saved, phases=plan.extended(cfg, saved.phases, extend, saved.lr, familiar))
        terminal.note(f"run: {run.path}, {_where(saved.place) if saved else 'stopped before its first step'}")
        with listening(cfg, events, terminal) as heard, logged(run), runs.recorded(run):
            return go(cfg, run, terminal, command, heard, saved)


def _check_status(run: Run, status: str, extend: int | None) -> None:
    if status == "finished" and not extend:
        raise ModelError(
            f"{run.path} is finished: there is nothing to resume",
            f"to add epochs: imgclf train --resume {run.name} --extend N; to use it: imgclf predict {run.path} PHOTO",
        )
    if status != "finished" and extend:
        raise ModelError(
            f"{run.path} is not finished (its status: {status}): --extend adds epochs to a finished run",
            f"finish it first: imgclf train --resume {run.name}",
        )


def _check_processes(before: int) -> None:
    """The steps of a run have as many images as its processes read together."""
    if before != ranks.world():
        raise ConfigError(
            f"the run was begun with {before} processes, this command has {ranks.world()}",
            f"on one machine: --devices {before}; with torchrun or accelerate launch as many processes as before",
        )


def check_keys(stored: Config, wanted: Config) -> None:
    """Compare all keys; raises ConfigError that names every one that must not change, with both values."""
    before, now = (flat(cfg.model_dump(mode="json")) for cfg in (stored, wanted))
    wrong = [
        f"{key}: the run has {before[key]!r}, this command {now[key]!r}"
        for key in leaves()
        if key not in MAY_CHANGE and before[key] != now[key]
    ]
    if wrong:
        raise ConfigError(
            "\n  ".join(["a run goes on with the settings it began with:", *wrong]),
            f"leave them out, or train a new run; these may change: {', '.join(MAY_CHANGE)}",
        )


def _where(place: object) -> str:
    phase, epoch, batch = vars(place).values()
    return f"going on at phase {phase + 1}, epoch {epoch + 1}, batch {batch + 1}"
