"""`imgclf doctor`"""

from typing import Any

from imgclf.cli.options import command
from imgclf.console import Terminal, table


@command
def doctor_cli(terminal: Terminal) -> None:
    """What works here: versions, devices, a training step in each precision, extras, shared memory, weight cache.

    Example: [bold]imgclf doctor[/]
    """
    from imgclf.workflow.doctor import examine

    found = examine()
    terminal.result(found, _human(found))


def _human(found: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    columns = ["device", "precision", "channels_last", "ms", "difference from fp32 on the cpu"]
    rows = [
        [
            row["device"], row["precision"], row["channels_last"], row["ms"],
            row["error"] if "error" in row else f"{row['difference']:.1g}",
        ]
        for row in found["training steps"]
    ]  # fmt: skip
    facts = [[name, _text(value)] for name, value in found.items() if name != "training steps"]
    steps = table("One training step of a small ResNet-18", columns, rows)
    return Group(table(None, ["what", "found"], facts), Text(""), steps)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
