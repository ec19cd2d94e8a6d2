"""`imgclf report`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli.options import DebugOption, DeviceOption, JsonOption, QuietOption, RunsDirOption, TrustOption
from imgclf.console import Terminal


def report_cli(
    run: Annotated[str | None, typer.Argument(help="Run folder or name; default: the newest finished run.")] = None,
    runs_dir: RunsDirOption = Path("runs"),
    device: DeviceOption = "auto",
    trust: TrustOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run's report again, from its folder.

    Example: [bold]imgclf report my-run[/]
    """
    from imgclf.workflow.report import report

    terminal = Terminal(json, quiet)
    page = report(run, runs_dir=runs_dir, device=device, terminal=terminal, trust=trust)
    terminal.result({"run_dir": str(page.parent), "report": str(page), "bytes": page.stat().st_size}, str(page))
