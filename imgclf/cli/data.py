"""`imgclf data check | summary | show`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.findings import check_tables
from imgclf.cli.options import Settings, command, folder, picture
from imgclf.errors import DataError, UserError

FIGURES = {"median": "median", "90 % below": "p90", "most": "max"}

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
    out: Annotated[Path | None, picture("--out", "-o")] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, max=64, help="Images shown: 9, of --crop-loss 12, at most 4 of the demo."),
    ] = None,
    demo: Annotated[bool, typer.Option("--presize-demo", help="Presizing beside resizing first.")] = False,
    crop_loss: Annotated[bool, typer.Option("--crop-loss", help="What becoming square costs; the worst.")] = False,
) -> None:
    """A picture of a training batch after presizing and augmentation: what the model sees.

    With --presize-demo: your images presized, and resized first and then augmented, with the same draws. With
    --crop-loss: how much of each image the resize rule throws away, pads or distorts, and the worst of them. Without
    --out the picture is batch.png, presize-demo.png or crop-loss.png.

    Example: [bold]imgclf data show -d ~/photos --out batch.png[/]
    """
    from imgclf.workflow import look

    if demo and crop_loss:
        raise UserError("--presize-demo and --crop-loss are two pictures", "ask for one at a time")
    out = out or Path("presize-demo.png" if demo else "crop-loss.png" if crop_loss else "batch.png")
    cfg, terminal = settings.load().config, settings.terminal
    if demo:
        found = look.presize_demo(cfg, out, min(n or 4, 4), terminal)
        terminal.result(found, found["picture"])
    elif crop_loss:
        found = look.crop_loss(cfg, out, n or 12, terminal)
        terminal.result(found, _crop_loss(found))
    else:
        path = look.show(cfg, out, n or 9, terminal)
        terminal.result({"picture": str(path)}, str(path))


def _crop_loss(found: dict[str, Any]) -> str:
    shown = "{:.2f}" if found["rule"] == "squish" else "{:.0%}"
    figures = ", ".join(f"{name} {shown.format(found[key])}" for name, key in FIGURES.items())
    advice = (
        f"{found['rule']} suits"
        if found["recommended"] == found["rule"]
        else f"try --set augment.resize={found['recommended']}"
    )
    return (
        f"{found['rule']}: {found['measure']}, {found['n_images']} images: {figures}\n"
        f"{advice}: {found['why']}\n{found['picture']}"
    )
