"""`imgclf data check | summary | show`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli.findings import check_tables
from imgclf.cli.options import Settings, command, folder, picture
from imgclf.errors import DataError

app = typer.Typer(
    no_args_is_help=True, help="Look at the data: problems, the DataBlock step by step, a batch as the model sees it."
)


@app.command("check")
@command
def check_cli(
    settings: Settings,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 for bad files, leaks or conflicts.")] = False,
    out: Annotated[Path | None, folder("--out", "-o", help="Folder for pictures of what was found.")] = None,
) -> None:
    """Decode every file and report what is wrong: unreadable, there twice or nearly so, on both sides of the split.

    Example: [bold]imgclf data check -d ~/photos --strict[/]
    """
    from imgclf.workflow.look import check

    found, terminal = check(settings.load().config, settings.terminal, out), settings.terminal
    terminal.result(found, check_tables(found))
    problems = [name for name in ("bad", "leaks", "conflicts") if found[name]]
    if strict and problems:
        terminal.warn(f"found: {', '.join(problems)} (--strict)")
        raise typer.Exit(DataError.exit_code)


@app.command("summary")
@command
def summary_cli(settings: Settings) -> None:
    """fastai's DataBlock.summary: each step from a file to a batch.

    Example: [bold]imgclf data summary -d ~/photos[/]
    """
    from imgclf.workflow.look import summary

    text = summary(settings.load().config, settings.terminal)
    settings.terminal.result({"summary": text}, text)


@app.command("show")
@command
def show_cli(
    settings: Settings,
    out: Annotated[Path, picture("--out", "-o")] = Path("batch.png"),
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="Images shown.")] = 9,
) -> None:
    """A picture of a training batch after presizing and augmentation: what the model sees.

    Example: [bold]imgclf data show -d ~/photos --out batch.png[/]
    """
    from imgclf.workflow.look import show

    path = show(settings.load().config, out, n, settings.terminal)
    settings.terminal.result({"picture": str(path)}, str(path))
