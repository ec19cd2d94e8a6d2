"""`imgclf import`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli import completion
from imgclf.cli.options import command, folder
from imgclf.console import Terminal


@command
def import_cli(
    terminal: Terminal,
    file: Annotated[
        Path, typer.Argument(help="A fastai export.pkl, or a state dict of torchvision or timm (.pth, .safetensors).")
    ],
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code that a pickle holds.", show_default=False)
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "-a",
            help="State dict: of what; default: the ResNet that it fits.",
            autocompletion=completion.archs,
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="State dict: a file with a class name a line, or 'imagenet'.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="State dict: side of its images; default: the architecture's.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Images to compare on; default: generated ones.")
    ] = None,
    out: Annotated[Path | None, folder("--out", "-o", help="The bundle's folder; default: imported/NAME.")] = None,
    resize_once: Annotated[
        bool, typer.Option("--resize-once", help="Take a learner that resizes twice, at the price that is told.")
    ] = False,
) -> None:
    """Make a bundle of another program's model, and check that it gives the same answers.

    Example: [bold]imgclf import export.pkl --trust --data ~/photos[/]
    """
    from imgclf.workflow.importing import import_model

    found = import_model(
        file, trust=trust, arch=arch, classes=classes, size=size, data=data, out=out, resize_once=resize_once,
        terminal=terminal,
    )  # fmt: skip
    parity, prepared = found["parity"], found["preprocess"]
    terminal.result(
        found,
        f"{found['bundle']}: {found['kind']}, {found['arch']} for {len(found['classes'])} classes at "
        f"{prepared['size']} px ({prepared['resize']}); on {parity['n_images']} images the same answer for "
        f"{parity['top1_agreement']:.1%}, largest difference {parity['max_abs_diff']:.1e}: passed",
    )
    terminal.note(f"next: imgclf predict {found['bundle']} PHOTO…   or   imgclf export {found['bundle']} --data FOLDER")
