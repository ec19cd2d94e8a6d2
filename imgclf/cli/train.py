"""`imgclf train`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.options import RunsDirOption, Settings, command


@command
def train_cli(
    settings: Settings,
    runs_dir: RunsDirOption = Path("runs"),
    name: Annotated[str | None, typer.Option("--name", help="The run's name; default: time and architecture.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan, then one batch through every step; no run.")
    ] = False,
) -> None:
    """Train a classifier: check the data, plan, find a learning rate, fit, judge, report.

    Example: [bold]imgclf train -d ~/photos --arch resnet34 --epochs 3[/]
    """
    loaded = settings.load()
    terminal = settings.terminal
    terminal.note(f"configuration: {loaded.source}")
    if dry_run:
        from imgclf.workflow.rehearse import rehearse

        terminal.result(rehearse(loaded.config, terminal), "rehearsal passed")
        return
    from imgclf.workflow.environment import command_line
    from imgclf.workflow.train import train

    result = train(loaded.config, runs_dir=runs_dir, name=name, terminal=terminal, command=command_line())
    terminal.result(result.to_dict(), _human(result))


def _human(result: Any) -> str:
    from imgclf.results.tables import headline

    best, run = result.best, result.run.path
    return "\n".join(
        [
            headline(result.evaluation).plain,
            f"best epoch: {best['phase']} {best['epoch']}; {result.seconds:.0f} s in all, "
            f"{result.images_per_second:.0f} training images a second",
            f"model and report: {run} (open {run / 'report.html'})",
            f"next: imgclf predict {run} PHOTO…   or   imgclf export {run} --format onnx",
        ]
    )
