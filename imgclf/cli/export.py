"""`imgclf export`"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from imgclf.cli import completion
from imgclf.cli.options import RunArgument, RunsDirOption, TrustOption, command, folder
from imgclf.console import Terminal, table
from imgclf.errors import UserError

FORMATS = f"{', '.join(completion.FORMATS[:-1])} or {completion.FORMATS[-1]}; repeatable; default: onnx."
NEEDS = {"torch-export": " --trust", "torchscript": " --trust"}
IMAGES = 64


@command
def export_cli(
    terminal: Terminal,
    run: RunArgument = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", metavar="NAME", help=FORMATS, autocompletion=completion.words(*completion.FORMATS)
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="The ONNX file in 16 bits too.", show_default=False)] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="The ONNX file in 8 bits too, calibrated on training images.", show_default=False),
    ] = False,
    full_preprocess: Annotated[
        bool, typer.Option("--full-preprocess", help="An ONNX file for images of any size too.", show_default=False)
    ] = False,
    out: Annotated[
        Path | None, folder("--out", "-o", help="Folder for the files; default: export/ in the run.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", metavar="N", min=1, help=f"Validation images for the parity check; default: {IMAGES}."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Images to compare on, for a model without a run.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check on every validation image.", show_default=False)] = False,
    runs_dir: RunsDirOption = Path("runs"),
    trust: TrustOption = False,
) -> None:
    """Export a model, and check on real image files that the export gives the same answers.

    Example: [bold]imgclf export my-run --format onnx --int8 --format safetensors[/]
    """
    if every and images is not None:
        raise UserError(f"--all and --images {images} say two things", "leave one out")
    from imgclf.workflow.export import DEFAULT_FORMAT, export

    n_images = None if every else images or IMAGES
    chosen = formats or [DEFAULT_FORMAT]
    found = export(
        run, chosen, fp16=fp16, int8=int8, full_preprocess=full_preprocess, out=out, n_images=n_images, data=data,
        runs_dir=runs_dir, terminal=terminal, trust=trust,
    )  # fmt: skip
    terminal.result(found, _table(found["files"]))
    usable = [f"{f['path']}{NEEDS.get(f['format'], '')}" for f in found["files"] if f["format"] != "pkl"]
    if usable:
        terminal.note(f"next: imgclf verify {usable[0]}   or   imgclf predict {usable[0]} PHOTO…")


def _table(files: list[dict[str, Any]]) -> Table:
    """A row a file, its accuracy beside the model's; times are milliseconds for a batch of 1 and of 32."""
    heads = [
        "format",
        "file",
        "size",
        "images",
        "same label",
        "max |Δp|",
        "model's accuracy",
        "its accuracy",
        "ms/1",
        "ms/32",
    ]
    return table(None, heads, [_row(f) for f in files])


def _row(f: dict[str, Any]) -> list[Any]:
    parity, accuracy, took = f["parity"], f["accuracy"], f["latency_ms"]
    times = [f"{took[key]:.1f}" for key in ("batch_1", "batch_32")] if took else [None, None]
    return [
        f["format"], f["path"], f"{f['bytes'] / 1e6:.1f} MB", parity["n_images"], f"{parity['top1_agreement']:.1%}",
        f"{parity['max_abs_diff']:.1e}", *(_share(accuracy[k]) if accuracy else None for k in ("model", "export")),
        *times,
    ]  # fmt: skip


def _share(interval: dict[str, float]) -> str:
    return f"{interval['value']:.1%} ({interval['low']:.1%} to {interval['high']:.1%})"
