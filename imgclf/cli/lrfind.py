"""`imgclf lrfind`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.options import Settings, TrustOption, command, picture


@command
def lrfind_cli(
    settings: Settings,
    plot: Annotated[Path, picture("--plot")] = Path("lr_find.png"),
    unfrozen: Annotated[
        bool, typer.Option("--unfrozen", help="For the body too, after training the frozen phase first.")
    ] = False,
    trust: TrustOption = False,
) -> None:
    """Find a learning rate: a mock training with a growing rate, undone afterwards.

    With --unfrozen the one for train.lr_unfrozen, as the book does it: the frozen phase, unfreeze, find.

    Example: [bold]imgclf lrfind -d ~/photos --arch resnet34[/]
    """
    from imgclf.workflow.lrfind import find_lr

    loaded, terminal = settings.load(), settings.terminal
    terminal.note(f"configuration: {loaded.source}")
    found = find_lr(loaded.config, plot=plot, terminal=terminal, unfrozen=unfrozen, trust=trust)
    known = {name: lr for name, lr in found["suggestions"].items() if lr is not None}
    terminal.result(found, _human(found, known, min(terminal.out.width, 100)))
    terminal.note(f"picture: {plot}")
    option = f"--set train.lr_unfrozen={found['chosen']:g}" if unfrozen else f"--lr {found['chosen']:g}"
    terminal.note(f"next: imgclf train {option} and the options you used here")


def _human(found: dict[str, Any], known: dict[str, float], width: int) -> str:
    from imgclf.results.sparkplot import terminal_plot

    losses = [float("nan") if loss is None else loss for loss in found["losses"]]
    lines = [f"{name:8} {lr:.2e}" for name, lr in known.items()]
    chosen = f"chosen   {found['chosen']:.2e}  ({found['reason']})"
    return "\n".join([terminal_plot(found["lrs"], losses, known, width), "", *lines, chosen])
