"""`imgclf train`"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from imgclf import ranks, runs
from imgclf.cli import completion, launch
from imgclf.cli.options import RunsDirOption, Settings, TrustOption, command
from imgclf.console import Terminal
from imgclf.errors import UserError

if TYPE_CHECKING:
    from imgclf.schema import Config

ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Go on with a stopped run; 'latest': the newest; 'auto': that of --name, which is begun if not there.",
        autocompletion=completion.run_names_and_latest,
    ),
]
EventsOption = Annotated[
    Path | None, typer.Option("--events", metavar="FILE", help="Tell other programs: JSON lines to a file or pipe.")
]


@command
def train_cli(
    settings: Settings,
    context: typer.Context,
    runs_dir: RunsDirOption = Path("runs"),
    name: Annotated[str | None, typer.Option("--name", help="The run's name; default: time and architecture.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan, then one batch through every step; no run.")
    ] = False,
    resume: ResumeOption = None,
    extend: Annotated[
        int | None, typer.Option("--extend", min=1, metavar="N", help="With --resume: N more epochs of a finished run.")
    ] = None,
    events: EventsOption = None,
    trust: TrustOption = False,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, metavar="N", help="Train on so many devices of this machine.")
    ] = None,
) -> None:
    """Train a classifier: check the data, plan, find a learning rate, fit, judge, report.

    Example: [bold]imgclf train -d ~/photos --arch resnet34 --epochs 3[/]
    """
    if extend is not None and resume is None:
        raise UserError(f"--extend {extend} needs a finished run to extend", "name it: --resume RUN")
    run = _unfinished(resume, runs_dir, name, dry_run, extend) if resume is not None else None
    if run and settings.config is None:
        settings = replace(settings, config=str(run.file(runs.CONFIG)))
    loaded = replace(settings, flags={**settings.flags, "devices": devices}).load()
    terminal = settings.terminal
    if run and resume == runs.AUTO and runs.status(run) == "finished":
        _tell_finished(run, loaded.config, terminal)
        return
    if not dry_run and (processes := launch.wanted(loaded.config)) > 1:
        raise typer.Exit(launch.launch(context.obj, processes, terminal))
    terminal.note(f"configuration: {loaded.source}")
    if dry_run:
        if events:
            raise UserError("--events tells of a run, --dry-run makes none", "leave one out")
        from imgclf.workflow.rehearse import rehearse

        terminal.result(rehearse(loaded.config, terminal, trust), "rehearsal passed")
        return
    from imgclf.workflow.environment import command_line
    from imgclf.workflow.resume import resume as go_on
    from imgclf.workflow.train import train

    if run:
        result = go_on(loaded.config, run, terminal, command_line(), extend, events, trust)
    else:
        result = train(
            loaded.config,
            runs_dir=runs_dir,
            name=name,
            terminal=terminal,
            command=command_line(),
            events=events,
            trust=trust,
        )
    terminal.result(result.to_dict(), _human(result))


def _unfinished(reference: str, runs_dir: Path, name: str | None, dry_run: bool, extend: int | None) -> runs.Run | None:
    """The run to go on with, for options that make sense with it; None: one that ``auto`` is to begin."""
    if reference == runs.AUTO:
        if name is None or dry_run or extend is not None:
            raise UserError(
                "--resume auto begins the run of --name, or goes on with it where it is there",
                "add --name NAME, and leave out --dry-run and --extend",
            )
        return runs.find(str(runs_dir / name), runs_dir) if (runs_dir / name).exists() else None
    if name is not None or dry_run:
        raise UserError(
            f"--resume {reference} goes on with a run that has a name and a plan", "leave out --name and --dry-run"
        )
    return runs.find_unfinished(reference, runs_dir)


def _tell_finished(run: runs.Run, cfg: "Config", terminal: Terminal) -> None:
    """What a finished run reached, for whoever asks for the same run again, as a queue does."""
    from imgclf.config import load
    from imgclf.workflow.resume import check_keys

    check_keys(load(str(run.file(runs.CONFIG))).config, cfg)
    if ranks.is_first():
        result = run.manifest().get("result") or {}
        accuracy = result.get("metrics", {}).get("accuracy")
        reached = ""
        if accuracy and None not in accuracy.values():
            low, high = accuracy["low"], accuracy["high"]
            reached = f": accuracy {accuracy['value']:.3f} ({low:.3f} to {high:.3f}, n={accuracy['n']})"
        terminal.result(result, f"{run.path} is finished{reached}")


def _human(result: Any) -> Text:
    from imgclf.results import beside
    from imgclf.results.phases import sentence
    from imgclf.results.tables import headline

    best, run, rate = result.best, result.run.path, result.images_per_second
    speed = f", {rate:.0f} training images a second" if rate else ""  # none where the head was only computed
    lines = [
        *beside.baselines(result.evaluation.baselines),
        *beside.more_images(result.evaluation.learning_curve),
        f"best epoch: {best['phase']} {best['epoch']}; {result.seconds:.0f} s in all{speed}",
        *([sentence(result.unfreezing)] if result.unfreezing else []),
        f"model and report: {run} (open {run / 'report.html'})",
        f"next: imgclf predict {run} PHOTO…   or   imgclf export {run} --format onnx",
    ]
    return Text("\n").join([headline(result.evaluation), *map(Text, lines)])
