"""`imgclf verify`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli.options import TrustOption, command
from imgclf.console import Terminal


@command
def verify_cli(
    terminal: Terminal,
    file: Annotated[Path, typer.Argument(help="An exported file; its .json must lie beside it.")],
    trust: TrustOption = False,
) -> None:
    """Check a copy of an export: its hash, and its answers on the golden images stored with it.

    Example: [bold]imgclf verify runs/my-run/export/model.onnx[/]
    """
    from imgclf.shipping.verify import RUN_CODE, verify_golden

    found = verify_golden(file, trust)
    difference = f", largest difference {found['parity']['max_abs_diff']:.1e}" if found["parity"] else ""
    if "golden" not in found["checked"] and found["format"] in RUN_CODE:
        way = "" if found["format"] == "pkl" else "; --trust loads it"
        terminal.note(f"its answers were not checked: loading a {file.suffix} file can run code in it{way}")
    terminal.result(found, f"{file}: checked {' and '.join(found['checked'])}{difference}: passed")
