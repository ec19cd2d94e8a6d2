"""The plan as a person reads it, before the first batch."""

from collections.abc import Sequence

from rich.table import Table

from imgclf.console import table
from imgclf.data.images import Preprocess
from imgclf.training.plan import Phase, Plan, lr_range


def facts(
    *,
    classes: Sequence[str],
    n_train: int,
    n_valid: int,
    batch_size: int,
    batches: int,
    workers: int,
    preprocess: Preprocess,
    arch: str,
    pretrained: bool,
    device: str,
    precision: str,
    processes: int = 1,
) -> Table:
    """What is trained on what, one fact a line."""
    names = ", ".join(classes[:6]) + (f", … ({len(classes)})" if len(classes) > 6 else "")
    step = batch_size * processes
    size = f"{processes} processes x {batch_size} = {step}" if processes > 1 else f"{batch_size}"
    over = n_train - batches * step
    left = f"; the {over} left over wait for another epoch" if over else ""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in {
        "classes": f"{len(classes)}: {names}",
        "images": f"{n_train:,} for training, {n_valid:,} for validation",
        "batches": f"{n_train:,} images at batch size {size} = {batches} batches per epoch{left}",
        "input": f"{preprocess.size} x {preprocess.size} pixels, {preprocess.framing}, {preprocess.colours}",
        "model": f"{arch}, {'pretrained' if pretrained else 'from random weights'}",
        "device": f"{device}, {precision}; {workers} workers read images" + " for each process" * (processes > 1),
    }.items():
        made.add_row(name, value)
    return made


def phases(plan: Plan, parameters: Sequence[tuple[int, int]]) -> Table:
    """One row per phase: epochs, steps, learning rates of the layer groups, parameters trained.

    Args:
        parameters: Trained and all, for each phase.
    """
    rows = [
        [
            p.name,
            p.epochs,
            p.epochs_of_steps * plan.batches_per_epoch,
            lr_range(p),
            f"{_millions(trained)} of {_millions(of)}",
        ]
        for p, (trained, of) in zip(plan.phases, parameters, strict=True)
    ]
    heads = ["phase", "epochs", "steps", "lr, first to last layers", "parameters trained"]
    if len(rows) > 1:
        rows.append(["total", plan.epochs, plan.steps, "", ""])
    if any(p.sizes for p in plan.phases):  # progressive resizing
        heads.append("pixels")
        for row, shown in zip(rows, [*map(pixels, plan.phases), ""], strict=False):
            row.append(shown)
    return table(None, heads, rows)


def pixels(phase: Phase) -> str:
    """The sizes of a phase's training images: ``"128, then 224 (2 epochs)"``."""
    return ", then ".join(
        f"{part.sizes[0]}" + (f" ({part.epochs} epochs)" if part.epochs > 1 else "")
        for part in phase.parts
        if part.sizes
    )


def _millions(n: int) -> str:
    return f"{n / 1e6:.2f}M"
