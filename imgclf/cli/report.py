"""`imgclf report`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.options import DeviceOption, RunArgument, RunsDirOption, TrustOption, command
from imgclf.console import Terminal
from imgclf.errors import UserError


@command
def report_cli(
    terminal: Terminal,
    run: RunArgument = None,
    review: Annotated[
        bool, typer.Option("--review", help="Also a page of likely label errors: keep, relabel or drop each.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="With --review: the most images. [default: 200]")
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    device: DeviceOption = "auto",
    trust: TrustOption = False,
) -> None:
    """Write a run's report again, from its folder; with --review also a page of likely label errors.

    Example: [bold]imgclf report my-run --review[/]
    """
    from imgclf.workflow.report import report

    if limit is not None and not review:
        raise UserError(f"--limit {limit} is about the page of likely label errors", "ask for it: --review")
    page = report(run, runs_dir=runs_dir, device=device, terminal=terminal, trust=trust)
    result: dict[str, Any] = {"run_dir": str(page.parent), "report": str(page), "bytes": page.stat().st_size}
    lines = [str(page)]
    if review:
        from imgclf.workflow.review import LIMIT
        from imgclf.workflow.review import review as reviewed

        found = reviewed(str(page.parent), limit=limit or LIMIT, device=device, terminal=terminal, trust=trust)
        result["review"] = found.to_dict()
        lines.append(str(found.page))
        terminal.note(
            f"{len(found.suspects)} of {found.images} images to look at in {found.page}; use what it downloads with "
            "--set data.corrections=corrections.csv"
        )
    terminal.result(result, "\n".join(lines))
