"""`imgclf explain`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf.cli import completion
from imgclf.cli.options import DeviceOption, RunsDirOption, TrustOption, command, folder
from imgclf.console import Terminal
from imgclf.errors import DataError

if TYPE_CHECKING:
    from imgclf.results.explain import Explanation


@command
def explain_cli(
    terminal: Terminal,
    model: Annotated[
        str,
        typer.Argument(help="Run, bundle folder or exported .safetensors file.", autocompletion=completion.run_names),
    ],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files and folders.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            help="What the images are; default: their folder's name, where it is a class.",
            autocompletion=completion.class_names,
        ),
    ] = None,
    top_losses: Annotated[
        int | None, typer.Option("--top-losses", min=1, metavar="N", help="The run's worst validation images.")
    ] = None,
    out: Annotated[
        Path | None, folder("--out", "-o", help="Where pictures go; default: explain, in the run folder.")
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    device: DeviceOption = "auto",
    trust: TrustOption = False,
) -> None:
    """Take a model's answer apart: activations, softmax, likelihood, loss; where in the image it looks (Grad-CAM).

    Example: [bold]imgclf explain my-run photo.jpg --label cat[/] or [bold]imgclf explain my-run --top-losses 20[/]
    """
    from imgclf.results.explain import Explanation
    from imgclf.workflow.explain import explain

    found = explain(
        model, images or (), labels=label or (), top_losses=top_losses, out=out, runs_dir=runs_dir, device=device,
        terminal=terminal, trust=trust,
    )  # fmt: skip
    good = [one for one in found if isinstance(one, Explanation)]
    result = {"model": model, "explanations": [one.to_dict() for one in found]}
    terminal.result(result, _human(good, top_losses is not None))
    for one in found:
        if not isinstance(one, Explanation):
            terminal.warn(f"{one.path}: {one.error}")
    if len(good) < len(found):
        raise typer.Exit(DataError.exit_code)


def _human(found: "list[Explanation]", worst: bool) -> Any:
    from rich.console import Group

    from imgclf.results.explain_view import explanation_table, top_losses_table

    if worst:
        return top_losses_table(found)
    return Group(*(part for one in found for part in (explanation_table(one), "")))
