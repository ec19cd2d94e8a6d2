"""`imgclf evaluate`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli.options import (
    BatchSizeOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    RunsDirOption,
    TrustOption,
)
from imgclf.console import Terminal


def evaluate_cli(
    model: Annotated[
        str | None, typer.Argument(help="Run, bundle folder or exported file; default: the newest run.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Other labelled images.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, valid or test, of the run's own data. [default: valid]")
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    trust: TrustOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Judge a model: accuracy with its interval, per class, confusion, calibration, worst images.

    Example: [bold]imgclf evaluate my-run --data ~/other-photos[/]
    """
    from imgclf.results.tables import evaluation_tables
    from imgclf.workflow.evaluate import evaluate, report_data

    terminal = Terminal(json, quiet)
    found = evaluate(
        model,
        data=data,
        part=split,
        runs_dir=runs_dir,
        device=device,
        batch_size=batch_size,
        terminal=terminal,
        trust=trust,
    )
    terminal.result(report_data(found), evaluation_tables(found))
