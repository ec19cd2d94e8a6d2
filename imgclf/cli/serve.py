"""`imgclf serve`"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.options import (
    AbstainOption,
    DeviceOption,
    ModelArgument,
    PrecisionOption,
    RunsDirOption,
    TrustOption,
    WorkersOption,
    command,
)
from imgclf.console import Terminal


@command
def serve_cli(
    terminal: Terminal,
    model: ModelArgument,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; others than this machine's: 0.0.0.0.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: a free one.")] = 8000,
    abstain: AbstainOption = None,
    max_mb: Annotated[float, typer.Option("--max-mb", min=0.1, max=1024, help="Largest request, MB.")] = 20,
    workers: WorkersOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Most images per step.")] = 32,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Also answer those who ask for this name; repeatable."),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    trust: TrustOption = False,
) -> None:
    """Serve a model: a page to drop photos on, and a JSON interface. Ctrl-C ends it.

    Example: [bold]imgclf serve my-run --port 8000[/]
    """

    def ready(url: str, facts: dict[str, Any]) -> None:
        terminal.result({"url": url, **{key: facts[key] for key in ("model", "format", "heatmaps", "limits")}}, url)
        sys.stdout.flush()
        terminal.note(f"serving {facts['model']} at {url} (page) and {url}/predict (JSON); Ctrl-C ends it")

    from imgclf.workflow.serve import serve

    serve(
        model, host=host, port=port, runs_dir=runs_dir, device=device, precision=precision, trust=trust,
        abstain=abstain, max_mb=max_mb, workers=workers, batch_size=batch_size, allow_hosts=allow_host or (),
        terminal=terminal, ready=ready,
    )  # fmt: skip
