"""`imgclf bench`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf.cli.options import Settings, TrustOption, command
from imgclf.console import table

if TYPE_CHECKING:
    from imgclf.workflow.bench import BenchResult

MAIN = "main process"
PARTS = {
    "decode": ("a worker", "read and decode"),
    "augment": ("a worker", "crop and augment"),
    "collate": ("a worker", "make a batch"),
    "transfer": (MAIN, "to the device"),
    "prepare": (MAIN, "transforms of the batch"),
    "forward": (MAIN, "forward and loss"),
    "backward": (MAIN, "backward"),
    "optimizer": (MAIN, "optimizer"),
    "rest": (MAIN, "everything else"),
}
RATES = {"pipeline": "loader alone", "step": "training step alone", "both": "both together", "inference": "inference"}


@command
def bench_cli(
    settings: Settings,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps to time; else about two seconds.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Where the time of a training step goes on this machine with these images, and what to change.

    Measures the loader alone, a training step of the last phase alone, and both together. Nothing is trained for good,
    and no run folder is made.

    Example: [bold]imgclf bench -d ~/photos --arch resnet34[/]
    """
    from imgclf.workflow.bench import bench

    loaded, terminal = settings.load(), settings.terminal
    terminal.note(f"configuration: {loaded.source}")
    found = bench(loaded.config, steps, terminal, trust)
    terminal.result(found.to_dict(), _human(found))
    if found.advice:
        terminal.note(f"next: imgclf train {found.advice[0].option} and the options you used here")


def _human(found: "BenchResult") -> Any:
    from rich.console import Group
    from rich.text import Text

    m = found.measured
    of = {"a worker": m.loader_ms, MAIN: m.step_ms}
    rows = [
        [where if m.workers else MAIN, what, f"{getattr(m, name):.2f}", f"{getattr(m, name) / of[where]:.0%}"]
        for name, (where, what) in PARTS.items()
    ]
    rates = [[what, f"{getattr(m, name):.1f}"] for name, what in RATES.items()]
    lines = [f"Waiting for data: {m.waiting:.0%} of both together.", f"{found.verdict[0].upper()}{found.verdict[1:]}."]
    lines += [f"- {a.option}: {a.why}" for a in found.advice] or ["Nothing here says that a change would help."]
    return Group(
        table("Milliseconds an image", ["in", "what", "ms", "share"], rows),
        Text(""),
        table(f"Images a second, {found.steps} steps of {m.batch_size}", ["what", "images/s"], rates),
        Text(""),
        Text("\n".join(lines)),
    )
