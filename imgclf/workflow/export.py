"""Export a trained model, and prove on real image files that the export gives the same answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgclf import runs
from imgclf.console import Terminal
from imgclf.data.samples import Sample
from imgclf.errors import ExportError, UserError, did_you_mean
from imgclf.workflow import evaluate

SUFFIXES = {
    "safetensors": ".safetensors",
    "onnx": ".onnx",
    "torch-export": ".pt2",
    "torchscript": ".pt",
    "pkl": ".pkl",
}
DEFAULT_FORMAT = "onnx"
REHEARSED = ("safetensors", "onnx", "pkl")  # by `train --dry-run`: where one of torch's own fails, ONNX does too


def export(
    model: str | Path | None = None,
    formats: Sequence[str] = (DEFAULT_FORMAT,),
    *,
    out: Path | None = None,
    n_images: int = 64,
    runs_dir: Path = Path("runs"),
    terminal: Terminal | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Write a run's model in each format, each followed by a parity check; the JSON of `imgclf export`.

    Args:
        model: A run folder or name; None: the newest finished run.
        out: Folder for the files; None: ``export/`` in the run folder.
        n_images: Validation images for the parity check.
        trust: Whether the code that a custom head names may run.

    Raises:
        ExportError: if a format cannot be made here, or gives other answers than the model (exit code 5).
    """
    from imgclf.shipping import exporters, verify

    terminal = terminal or Terminal(quiet=True)
    for name in formats:
        if name not in exporters.FORMATS:
            raise UserError(
                f"--format: no format '{name}'.{did_you_mean(name, exporters.FORMATS)}",
                f"one of {', '.join(exporters.FORMATS)}",
            )
    path = evaluate.locate(model, runs_dir)
    run = evaluate.owner(path)
    folder = out or (run or path) / runs.EXPORT
    if folder.resolve() == path.resolve():
        raise UserError(f"--out {folder} is the folder of the model itself", "choose another one for its exports")
    root, samples = evaluate.own_samples(run or path, "valid")
    images = spread(root, samples, n_images)
    files, failed = [], []
    for name in formats:
        target = folder / f"model{SUFFIXES[name]}"
        exporters.export(path, name, target, trust)
        parity = verify.check(target, name, path, images, trust)
        files.append({"format": name, "path": str(target), "bytes": target.stat().st_size, "parity": parity.to_dict()})
        failed += [] if parity.passed else [verify.failure(target, parity)]
    if failed:
        raise ExportError("\n".join(e.message for e in failed), failed[0].hint)
    return {"files": files}


def spread(root: Path, samples: Sequence[Sample], most: int) -> list[Path]:
    """At most ``most`` of the images, evenly over the list and so over the classes."""
    step = max(1, len(samples) // max(1, most))
    return [root / s.path for s in samples[::step][:most]]
