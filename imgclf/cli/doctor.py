"""`imgclf doctor`"""

from imgclf.cli.options import DebugOption, JsonOption, QuietOption
from imgclf.console import Terminal, table


def doctor_cli(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """What works here: versions, devices, precision, shared memory, weight cache, and one tiny training step.

    Example: [bold]imgclf doctor[/]
    """
    from imgclf.workflow.doctor import examine

    found = examine()
    rows = [[name, value] for name, value in found.items()]
    Terminal(json, quiet).result(found, table(None, ["what", "found"], [[k, _text(v)] for k, v in rows]))


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
