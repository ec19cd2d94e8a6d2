"""`imgclf predict`"""

import csv
import json as json_format
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf.cli.options import (
    BatchSizeOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    RunsDirOption,
    TrustOption,
)
from imgclf.console import Terminal, table
from imgclf.errors import DataError, UserError, did_you_mean

if TYPE_CHECKING:
    from imgclf.shipping.inference import Predictor

FORMATS = ("table", "csv", "jsonl", "json")


def predict_cli(
    model: Annotated[str, typer.Argument(help="Run, bundle folder, or exported file.")],
    paths: Annotated[list[Path], typer.Argument(help="Image files and folders.")],
    format: Annotated[str, typer.Option("--format", "-f", help="table, csv, jsonl or json.")] = "table",  # noqa: A002
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Classes shown for each image.")] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            "--abstain", metavar="RATE", help="Answer 'unknown' where more than RATE of the answers were wrong."
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    trust: TrustOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Classify photographs.

    Example: [bold]imgclf predict my-run photo.jpg ~/more-photos --format csv[/]
    """
    if format not in FORMATS:
        raise UserError(
            f"--format: no format '{format}'.{did_you_mean(format, FORMATS)}", f"one of {', '.join(FORMATS)}"
        )
    terminal = Terminal(json or format == "json", quiet)
    from imgclf.shipping import inference
    from imgclf.workflow.evaluate import locate

    predictor = inference.load(locate(model, runs_dir), device, trust)
    if abstain is not None:
        rate, least = predictor.least_prob(abstain)
        terminal.note(
            f"answers below probability {least:.4f} are 'unknown': of the others, on images like those of validation, "
            f"at most {rate:g} are wrong (with 95 % confidence)"
            + ("; so are images unlike those" if predictor.familiar else "")
        )
    files = inference.images_under(paths)
    if not files:
        raise DataError(f"no images under {', '.join(map(str, paths))}")
    bad = _write(predictor, _rows(predictor, files, top_k, batch_size, abstain, terminal), format, terminal)
    if bad:
        terminal.warn(f"{bad} of {len(files)} files could not be read")
        raise typer.Exit(DataError.exit_code)


def _rows(
    predictor: "Predictor",
    files: list[Path],
    top_k: int | None,
    batch_size: int,
    abstain: float | None,
    terminal: Terminal,
) -> Iterator[dict[str, Any]]:
    with terminal.progress("predicting", len(files)) as step:
        for answer in predictor.predict(files, batch_size, abstain=abstain):
            step()
            yield answer.to_row(predictor.classes, top_k)


def _write(predictor: "Predictor", rows: Iterator[dict[str, Any]], form: str, terminal: Terminal) -> int:
    """Write the rows as they come where the format allows; returns how many files could not be read."""
    if terminal.json_mode:
        everything = list(rows)
        terminal.result({"model": predictor.name, "predictions": everything})
        return sum("error" in row for row in everything)
    if form == "jsonl":
        return sum(_line(json_format.dumps(row, ensure_ascii=False), row) for row in rows)
    if form == "csv":
        return _write_csv(predictor, rows)
    everything = list(rows)
    several = predictor.task == "multi"
    heads = ["file", "labels", "then"] if several else ["file", "label", "prob", "then"]
    cells = [_cells_of_several(row) if several else _cells(row) for row in everything]
    if any(row.get("unlike") for row in everything):
        heads.append("")
        cells = [[*cell, _mark(row)] for cell, row in zip(cells, everything, strict=True)]
    terminal.result(None, table(None, heads, cells))
    return sum("error" in row for row in everything)


def _line(text: str, row: dict[str, Any]) -> bool:
    sys.stdout.write(text + "\n")
    return "error" in row


def _write_csv(predictor: "Predictor", rows: Iterator[dict[str, Any]]) -> int:
    from imgclf.data.labels import join

    writer = csv.writer(sys.stdout, lineterminator="\n")
    several = predictor.task == "multi"
    known = ["unlike", "distance"] if predictor.familiar else []
    writer.writerow(["path", *(["labels"] if several else ["label", "prob"]), *known, "error", *predictor.classes])
    bad = 0
    for row in rows:
        probs = row.get("probs", {})
        found = [join(row.get("labels", ()))] if several else [row.get("label"), row.get("prob")]
        found += [row.get(key) for key in known]
        writer.writerow([row["path"], *found, row.get("error"), *(probs.get(name) for name in predictor.classes)])
        bad += "error" in row
    return bad


def _mark(row: dict[str, Any]) -> str:
    return f"unlike the training images ({row['distance']:.2f})" if row.get("unlike") else ""


def _cells(row: dict[str, Any]) -> list[Any]:
    if "error" in row:
        return [row["path"], f"unreadable: {row['error']}", "", ""]
    others = list(row["probs"].items())
    return [
        row["path"],
        row["label"],
        f"{row['prob']:.3f}",
        _shown(others[:2] if row.get("abstained") else others[1:3]),
    ]


def _cells_of_several(row: dict[str, Any]) -> list[Any]:
    if "error" in row:
        return [row["path"], f"unreadable: {row['error']}", ""]
    found = [(name, row["probs"].get(name)) for name in row["labels"]]
    others = [(name, p) for name, p in row["probs"].items() if name not in row["labels"]]
    return [row["path"], _shown(found) or "none", _shown(others[:2])]


def _shown(named: list[tuple[str, float | None]]) -> str:
    """Names with their probabilities, as far as `--top-k` left them."""
    return ", ".join(name if p is None else f"{name} {p:.3f}" for name, p in named)
