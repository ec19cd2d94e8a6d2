"""`imgclf predict`"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf.cli import completion
from imgclf.cli.options import (
    AbstainOption,
    BatchSizeOption,
    DeviceOption,
    ModelArgument,
    PrecisionOption,
    RunsDirOption,
    TrustOption,
    WorkersOption,
    command,
)
from imgclf.console import Terminal
from imgclf.errors import DataError, UserError, did_you_mean

if TYPE_CHECKING:
    from imgclf.shipping.prediction import Prediction
    from imgclf.shipping.sources import Source, Sources

FORMATS = ("table", "csv", "jsonl", "json")
FormatOption = Annotated[
    str, typer.Option("--format", "-f", help="table, csv, jsonl or json.", autocompletion=completion.words(*FORMATS))
]


@command
def predict_cli(
    terminal: Terminal,
    model: ModelArgument,
    paths: Annotated[
        list[str], typer.Argument(help="Image files, folders, quoted patterns ('photos/**/*.jpg'); -: a list on stdin.")
    ],
    format: FormatOption = "table",  # noqa: A002
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Classes shown for each image.")] = None,
    abstain: AbstainOption = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Fetch http and https addresses.", show_default=False)
    ] = False,
    workers: WorkersOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    trust: TrustOption = False,
) -> None:
    """Classify photographs.

    Example: [bold]imgclf predict my-run photo.jpg ~/more-photos --format csv[/]
    """
    if format not in FORMATS:
        raise UserError(
            f"--format: no format '{format}'.{did_you_mean(format, FORMATS)}", f"one of {', '.join(FORMATS)}"
        )
    if terminal.json_mode and format in ("csv", "jsonl"):
        raise UserError(
            f"--json and --format {format} exclude each other: one is a single document, the other is not",
            f"leave out --json for {format}, or --format for one JSON document",
        )
    terminal = replace(terminal, json_mode=terminal.json_mode or format == "json")
    from imgclf.cli import rows
    from imgclf.shipping import inference
    from imgclf.shipping.sources import STDIN, Sources
    from imgclf.workflow.evaluate import locate

    found = locate(model, runs_dir)
    sources = Sources(tuple(paths), sys.stdin.buffer if STDIN in paths else None, allow_network)
    predictor = inference.load(found, device, trust, precision)
    if abstain is not None:
        rate, least = predictor.least_prob(abstain)
        terminal.note(
            f"answers below probability {least:.4f} are 'unknown': of the others, on images like those of validation, "
            f"at most {rate:g} are wrong (with 95 % confidence)"
            + ("; so are images unlike those" if predictor.familiar else "")
        )
    answers = predictor.predict(_some(sources), batch_size, workers, abstain=abstain)
    count = Count()
    shown = (answer.to_row(predictor.classes, top_k) for answer in count.over(answers, sources, terminal))
    rows.write(predictor, shown, format, terminal)
    if count.bad:
        terminal.warn(f"{count.bad} of {count.all} files could not be read")
        raise typer.Exit(DataError.exit_code)


def _some(sources: "Sources") -> "Iterator[Source]":
    """The sources, of which there must be one."""
    found = iter(sources)
    first = next(found, None)
    if first is None:
        raise DataError(f"no images under {', '.join(sources.arguments)}")
    return chain([first], found)


class Count:
    """How many answers have passed, and how many of them say why there is none."""

    def __init__(self) -> None:
        self.all = self.bad = 0

    def over(self, answers: "Iterator[Prediction]", sources: "Sources", terminal: Terminal) -> "Iterator[Prediction]":
        """Pass them on, with a progress display on a terminal."""
        known = terminal.live and sources.repeatable
        total: Any = sum(1 for _ in sources) if known else None
        with terminal.progress("predicting", total) as step:
            for answer in answers:
                step()
                self.all += 1
                self.bad += answer.error is not None
                yield answer
