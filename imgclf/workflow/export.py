"""Export a trained model, and prove on real image files that the export gives the same answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclf import runs
from imgclf.console import Terminal
from imgclf.data.inspection import UNREADABLE
from imgclf.data.samples import Sample
from imgclf.errors import ExportError, UserError, did_you_mean
from imgclf.workflow import evaluate

if TYPE_CHECKING:
    import numpy as np

    from imgclf.shipping.inference import Predictor

SUFFIXES = {
    "safetensors": ".safetensors",
    "onnx": ".onnx",
    "onnx-fp16": ".fp16.onnx",
    "onnx-int8": ".int8.onnx",
    "torch-export": ".pt2",
    "torchscript": ".pt",
    "pkl": ".pkl",
}
DEFAULT_FORMAT = "onnx"
REHEARSED = ("safetensors", "onnx", "pkl")  # by `train --dry-run`: where one of torch's own fails, ONNX does too
N_CALIBRATION = 128  # training images for the scales of 8 bits


def export(
    model: str | Path | None = None,
    formats: Sequence[str] = (DEFAULT_FORMAT,),
    *,
    fp16: bool = False,
    int8: bool = False,
    out: Path | None = None,
    n_images: int | None = 64,
    runs_dir: Path = Path("runs"),
    terminal: Terminal | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Write a run's model in each format, each followed by a parity check; the JSON of `imgclf export`.

    Args:
        model: A run folder or name; None: the newest finished run.
        fp16: And ``int8``: write the ONNX file in 16 and in 8 bits as well.
        out: Folder for the files; None: ``export/`` in the run folder.
        n_images: Validation images for the parity check; None: all.
        trust: Whether the code that a custom head names may run.

    Raises:
        ExportError: if a format cannot be made here, or gives other answers than the model (exit code 5).
    """
    from imgclf.shipping import exporters, inference, verify

    terminal = terminal or Terminal(quiet=True)
    wanted = _wanted(formats, fp16, int8)
    path = evaluate.locate(model, runs_dir)
    run = evaluate.owner(path)
    folder = out or (run or path) / runs.EXPORT
    if folder.resolve() == path.resolve():
        raise UserError(f"--out {folder} is the folder of the model itself", "choose another one for its exports")
    root, samples = evaluate.own_samples(run or path, "valid")
    chosen = chosen_of(samples, n_images)
    images = [root / s.path for s in chosen]
    reference = inference.load(path, trust=trust)
    targets = evaluate.targets(reference, chosen)
    calibration = _calibration(run or path, reference) if int8 else ()
    files, failed = [], []
    for name in wanted:
        target = folder / f"model{SUFFIXES[name]}"
        exporters.export(path, name, target, trust, calibration)
        parity = verify.check(target, name, path, images, trust, targets, timed=True)
        facts = verify.read_sidecar(target)
        figures = {key: facts[key] for key in ("bytes", "parity", "accuracy", "latency_ms")}
        files.append({"format": name, "path": str(target), **figures})
        failed += [] if parity.passed else [verify.failure(target, parity)]
    if failed:
        raise ExportError("\n".join(e.message for e in failed), failed[0].hint)
    return {"files": files}


def _wanted(formats: Sequence[str], fp16: bool, int8: bool) -> list[str]:
    """The formats to write, each once, the smaller ones after the plain ONNX file."""
    from imgclf.shipping import exporters

    for name in formats:
        if name not in exporters.FORMATS:
            raise UserError(
                f"--format: no format '{name}'.{did_you_mean(name, exporters.FORMATS)}",
                f"one of {', '.join(exporters.FORMATS)}",
            )
    smaller = [name for name, asked in zip(exporters.SMALLER, (fp16, int8), strict=True) if asked]
    if smaller and "onnx" not in formats:
        raise UserError(
            f"--fp16 and --int8 make smaller ONNX files; the formats asked for are {', '.join(formats)}",
            "add --format onnx",
        )
    wanted: list[str] = []
    for name in dict.fromkeys(formats):
        wanted += [name, *smaller] if name == "onnx" else [name]
    return wanted


def spread(root: Path, samples: Sequence[Sample], most: int) -> list[Path]:
    """At most ``most`` of the images, evenly over the list and so over the classes."""
    return [root / s.path for s in chosen_of(samples, most)]


def chosen_of(samples: Sequence[Sample], most: int | None) -> Sequence[Sample]:
    """At most ``most`` of the samples, evenly over the list; None: all."""
    if most is None:
        return samples
    step = max(1, len(samples) // max(1, most))
    return samples[::step][:most]


def _calibration(run: Path, reference: "Predictor") -> "list[np.ndarray]":
    """Training images as the model takes them, those that can be read."""
    root, samples = evaluate.own_samples(run, "train")
    found = []
    for path in spread(root, samples, N_CALIBRATION):
        try:
            found.append(reference.preprocess.load(path))
        except UNREADABLE:  # no image is needed more than another
            continue
    if not found:
        raise ExportError("none of the training images can be read: 8 bits need some for their scales")
    return found
