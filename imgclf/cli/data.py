"""`imgclf data check | summary | show`"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from imgclf.cli.options import Settings, command, picture
from imgclf.console import table
from imgclf.errors import DataError

app = typer.Typer(
    no_args_is_help=True, help="Look at the data: problems, the DataBlock step by step, a batch as the model sees it."
)


@app.command("check")
@command
def check_cli(
    settings: Settings,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 for bad files, leaks or conflicts.")] = False,
) -> None:
    """Decode every file and report what is wrong: unreadable, there twice, on both sides of the split.

    Example: [bold]imgclf data check -d ~/photos --strict[/]
    """
    from imgclf.workflow.look import check

    found, terminal = check(settings.load().config, settings.terminal), settings.terminal
    terminal.result(found, _check_tables(found))
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


def _check_tables(found: dict[str, Any]) -> Group:
    classes = sorted(found["classes"].items(), key=lambda item: item[1])
    shown = classes if len(classes) <= 20 else [*classes[:10], *classes[-10:]]
    parts: list[Any] = [
        f"{found['n_images']} images in {len(classes)} classes ({found['layout']})",
        table(None, ["class", "images"], shown),
    ]
    lists = {
        "unreadable": [f"{b['path']}: {b['reason']}" for b in found["bad"]],
        "the same image more than once": [" = ".join(group) for group in found["duplicates"]],
        "in training and validation": [f"{leak['train']} = {leak['valid']}" for leak in found["leaks"]],
        "the same image with two labels": [" = ".join(group) for group in found["conflicts"]],
        "warnings": found["warnings"],
    }
    for title, lines in lists.items():
        if lines:
            parts += [f"\n{title}: {len(lines)}", *(f"  {line}" for line in lines[:20])]
    if not any(lists.values()):
        parts.append("no problem found")
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts))  # names are no markup
