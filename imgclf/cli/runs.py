"""`imgclf runs list | show`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli import completion
from imgclf.cli.options import RunArgument, RunsDirOption, command
from imgclf.console import Terminal, cell, table

app = typer.Typer(no_args_is_help=True, help="The runs so far.")


ORDERS = ("name", "started", "error_rate", "valid_loss", "seconds", "n_valid", "arch", "status")
SHOWN = 4  # keys in which a run differs
WIDTHS = {"differs in": 100, "seconds": 80, "n_valid": 80}  # of a terminal that has room for the column


@app.command("list")
@command
def list_cli(
    terminal: Terminal,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            help="name, started, error_rate, valid_loss, seconds, n_valid, arch or status.",
            autocompletion=completion.words(*ORDERS),
        ),
    ] = "name",
    runs_dir: RunsDirOption = Path("runs"),
) -> None:
    """Every run with its main figures, how its validation loss went, and in what its configuration differs.

    Example: [bold]imgclf runs list --sort error_rate[/]
    """
    from imgclf.cli.run_view import curve
    from imgclf.workflow.listing import listed

    found = listed(runs_dir, sort)
    columns = ["name", "status", "arch", "error_rate", "n_valid", "seconds", "valid loss", "differs in"]
    width = terminal.out.width
    shown = [c for c in columns if width >= WIDTHS.get(c, 0)]
    lines = [{**row, "valid loss": curve(row["valid_loss"]), "differs in": _differs(row["differs"])} for row in found]
    terminal.result({"runs": found}, table(None, shown, [[line[c] for c in shown] for line in lines]))
    if not found:
        terminal.note(f"no runs under {runs_dir}")
    elif shown != columns:
        terminal.note(
            f"{width} columns have no room for: {', '.join(c for c in columns if c not in shown)} (--json has all)"
        )


@app.command("show")
@command
def show_cli(
    terminal: Terminal,
    run: RunArgument = None,
    runs_dir: RunsDirOption = Path("runs"),
) -> None:
    """What is known about one run, what changed since the run before it, and the files in its folder.

    Example: [bold]imgclf runs show my-run[/]
    """
    from imgclf import runs
    from imgclf.cli.run_view import rows
    from imgclf.workflow.listing import details

    data = details(runs.find(run, runs_dir))
    terminal.result(data, table(None, ["what", "value"], rows(data)))


def _differs(own: dict[str, Any] | None) -> str:
    if own is None:
        return "configuration cannot be read"
    shown = [f"{key}={cell(value)}" for key, value in list(own.items())[:SHOWN]]
    return ", ".join(shown) + (f", {len(own) - SHOWN} more" if len(own) > SHOWN else "")
