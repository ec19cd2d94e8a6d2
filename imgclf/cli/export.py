"""`imgclf export`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli.options import DebugOption, JsonOption, QuietOption, RunsDirOption, TrustOption
from imgclf.console import Terminal, table

FORMATS = "onnx, safetensors, torch-export, torchscript or pkl; repeatable. [default: onnx]"
NEEDS = {"torch-export": " --trust", "torchscript": " --trust"}


def export_cli(
    run: Annotated[str | None, typer.Argument(help="Run folder or name; default: the newest finished run.")] = None,
    formats: Annotated[list[str] | None, typer.Option("--format", "-f", help=FORMATS)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the files; default: export/ in the run.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="Validation images for the parity check.")] = 64,
    runs_dir: RunsDirOption = Path("runs"),
    trust: TrustOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Export a model, and check on real image files that the export gives the same answers.

    Example: [bold]imgclf export my-run --format onnx --format safetensors[/]
    """
    from imgclf.workflow.export import DEFAULT_FORMAT, export

    terminal = Terminal(json, quiet)
    chosen = formats or [DEFAULT_FORMAT]
    found = export(run, chosen, out=out, n_images=images, runs_dir=runs_dir, terminal=terminal, trust=trust)
    rows = [
        [f["format"], f["path"], f"{f['bytes'] / 1e6:.1f} MB", f["parity"]["n_images"],
         f"{f['parity']['top1_agreement']:.1%}", f"{f['parity']['max_abs_diff']:.1e}"]
        for f in found["files"]
    ]  # fmt: skip
    terminal.result(found, table(None, ["format", "file", "size", "images", "same label", "max |Δp|"], rows))
    usable = [f"{f['path']}{NEEDS.get(f['format'], '')}" for f in found["files"] if f["format"] != "pkl"]
    if usable:
        terminal.note(f"next: imgclf verify {usable[0]}   or   imgclf predict {usable[0]} PHOTO…")
