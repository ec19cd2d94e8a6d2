"""`imgclf archs`"""

from typing import Annotated, Any

import typer

from imgclf.cli.options import command
from imgclf.console import Terminal, table


@command
def archs_cli(
    terminal: Terminal,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="PATTERN", help="Only names such as 'resnet*', also timm's if it is installed."
        ),
    ] = None,
) -> None:
    """List the architectures: parameters, input size, ImageNet weights and whether they are here.

    Example: [bold]imgclf archs --filter '*efficientnet_lite*'[/]
    """
    from imgclf.networks import timm_models
    from imgclf.training.archs import all_archs
    from imgclf.training.weights import cache_path

    data: list[dict[str, Any]] = [
        {"name": a.name, "library": a.library, "params": a.params, "input_size": a.input_size,
         "weights": a.weights_file, "url": a.weights_url, "path": str(cache_path(a)), "cached": cache_path(a).is_file()}
        for a in all_archs(pattern)
    ]  # fmt: skip
    terminal.result({"archs": data}, table(None, ["arch", "parameters", "input", "weights", "here"], _rows(data)))
    if pattern is None:
        terminal.note(f"weights are looked for in {cache_path(all_archs()[0]).parent}")
    if not timm_models.installed():
        terminal.note(f"more architectures: {timm_models.INSTALL}")
    elif pattern is None:
        terminal.note(f"and {len(timm_models.names()):,} of timm: imgclf archs --filter PATTERN")
    elif not data:
        terminal.note(f"no name fits '{pattern}'; * stands for anything")
    terminal.note("try small models before you scale up: bigger is not always better for your data")


def _rows(data: list[dict[str, Any]]) -> list[list[Any]]:
    """One for each; timm does not say how many parameters its models have."""
    return [
        [a["name"], f"{a['params'] / 1e6:.1f}M" if a["params"] else "?", a["input_size"],
         a["weights"] if a["library"] == "torchvision" else "timm's", a["cached"]]
        for a in data
    ]  # fmt: skip
