"""`imgclf archs`"""

from typing import Any

from imgclf.cli.options import DebugOption, JsonOption, QuietOption
from imgclf.console import Terminal, table


def archs_cli(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """List the architectures: parameters, input size, ImageNet weights and whether they are here.

    Example: [bold]imgclf archs[/]
    """
    from imgclf.training.archs import all_archs
    from imgclf.training.weights import cache_path

    terminal = Terminal(json, quiet)
    data: list[dict[str, Any]] = [
        {"name": a.name, "params": a.params, "input_size": a.input_size, "weights": a.weights_file,
         "url": a.weights_url, "path": str(cache_path(a)), "cached": cache_path(a).is_file()}
        for a in all_archs()
    ]  # fmt: skip
    rows = [[a["name"], f"{a['params'] / 1e6:.1f}M", a["input_size"], a["weights"], a["cached"]] for a in data]
    terminal.result({"archs": data}, table(None, ["arch", "parameters", "input", "weights", "here"], rows))
    if data:
        terminal.note(f"weights are looked for in {cache_path(all_archs()[0]).parent}")
        terminal.note("try small models before you scale up: bigger is not always better for your data")
