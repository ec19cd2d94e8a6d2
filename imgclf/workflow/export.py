"""Export a trained model, and prove on real image files that the export gives the same answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from imgclf import runs
from imgclf.console import Terminal
from imgclf.data.inspection import UNREADABLE
from imgclf.data.location import keep_outside
from imgclf.data.samples import Sample
from imgclf.errors import DataError, ExportError, ModelError, UserError, did_you_mean
from imgclf.workflow import evaluate

if TYPE_CHECKING:
    import numpy as np

    from imgclf.shipping.inference import Predictor

T = TypeVar("T")
SUFFIXES = {
    "safetensors": ".safetensors",
    "onnx": ".onnx",
    "onnx-fp16": ".fp16.onnx",
    "onnx-int8": ".int8.onnx",
    "onnx-full": ".full.onnx",
    "openvino": ".xml",
    "torch-export": ".pt2",
    "torchscript": ".pt",
    "pkl": ".pkl",
}
DEFAULT_FORMAT = "onnx"
REHEARSED = ("safetensors", "onnx", "pkl")  # by `train --dry-run`: where one of torch's own fails, ONNX does too
N_CALIBRATION = 512  # training images for the scales of 8 bits: on pets-mini 128 agreed on 98.5 %, 512 on 99.6 %


def export(
    model: str | Path | None = None,
    formats: Sequence[str] = (DEFAULT_FORMAT,),
    *,
    fp16: bool = False,
    int8: bool = False,
    full_preprocess: bool = False,
    out: Path | None = None,
    n_images: int | None = 64,
    data: Path | None = None,
    runs_dir: Path = Path("runs"),
    terminal: Terminal | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Write a run's model in each format, each followed by a parity check; the JSON of `imgclf export`.

    Args:
        model: A run folder or name; None: the newest finished run.
        fp16: And ``int8``: write the ONNX file in 16 and in 8 bits as well; ``full_preprocess``: one for any size too.
        out: Folder for the files; None: ``export/`` in the run folder, or beside a file that belongs to none.
        n_images: Validation images for the parity check; None: all.
        data: A folder of images to use instead, for a model that belongs to no run; labels are not looked at.
        trust: Whether the code that a custom head names may run.

    Raises:
        UserError: for an unknown format, or a folder among the images.
        PackageError: if a format needs a package that is not installed.
        ExportError: if a format cannot be made, or gives other answers than the model (exit code 5).
    """
    from imgclf.shipping import exporters, inference, verify

    terminal = terminal or Terminal(quiet=True)
    wanted = _wanted(formats, fp16, int8, full_preprocess)
    path = evaluate.locate(model, runs_dir)
    run = evaluate.owner(path)
    folder = out or (run or (path if path.is_dir() else path.parent)) / runs.EXPORT
    if folder.resolve() == path.resolve():
        raise UserError(f"--out {folder} is the folder of the model itself", "choose another one for its exports")
    evaluate.keep_out_of_data(run, folder)
    if data is not None:
        keep_outside(data, folder, "--out")
    reference = inference.load(path, trust=trust)
    used = _from_folder(data, reference, n_images, int8) if data else _from_run(path, run, reference, n_images, int8)
    files, failed = [], []
    for name in wanted:
        target = folder / f"model{SUFFIXES[name]}"
        exporters.export(path, name, target, trust, used.calibration)
        parity = verify.check(target, name, path, used.paths, trust, used.targets, timed=True)
        facts = verify.read_sidecar(target)
        figures = {key: facts[key] for key in ("bytes", "parity", "accuracy", "latency_ms")}
        files.append({"format": name, "path": str(target), **figures})
        failed += [] if parity.passed else [verify.failure(target, parity)]
    if failed:
        raise ExportError("\n".join(e.message for e in failed), failed[0].hint)
    return {"files": files}


def _wanted(formats: Sequence[str], *variants: bool) -> list[str]:
    """The formats to write, each once, the variants of ONNX that are asked for after the plain file."""
    from imgclf.shipping import exporters

    for name in formats:
        if name not in exporters.FORMATS:
            raise UserError(
                f"--format: no format '{name}'.{did_you_mean(name, exporters.FORMATS)}",
                f"one of {', '.join(exporters.FORMATS)}",
            )
    more = [name for name, asked in zip(exporters.VARIANTS, variants, strict=True) if asked]
    if more and "onnx" not in formats:
        raise UserError(
            "--fp16, --int8 and --full-preprocess make variants of the ONNX file; the formats asked for are "
            f"{', '.join(formats)}",
            "add --format onnx",
        )
    wanted: list[str] = []
    for name in dict.fromkeys(formats):
        wanted += [name, *more] if name == "onnx" else [name]
    return wanted


def spread(root: Path, samples: Sequence[Sample], most: int) -> list[Path]:
    """At most ``most`` of the images, evenly over the list and so over the classes."""
    return [root / s.path for s in chosen_of(samples, most)]


def chosen_of(samples: Sequence[T], most: int | None) -> Sequence[T]:
    """At most ``most`` of them, evenly over the list; None: all."""
    if most is None:
        return samples
    n = min(most, len(samples))
    return [samples[i * len(samples) // n] for i in range(n)]


class Images(NamedTuple):
    """The images of an export.

    Attributes:
        paths: To compare on.
        targets: The truth for these, as ``evaluate.targets`` gives it; None where it is not known.
        calibration: For 8 bits: pixels at the model's size.
    """

    paths: list[Path]
    targets: "np.ndarray | None"
    calibration: "list[np.ndarray]"


def _from_run(path: Path, run: Path | None, reference: "Predictor", n: int | None, int8: bool) -> Images:
    """Validation images; those of training for the scales of 8 bits."""
    if run is None:
        raise ModelError(f"{path} does not belong to a run: compare on what?", "give images: --data FOLDER")
    root, samples = evaluate.own_samples(run, "valid")
    chosen = chosen_of(samples, n)
    calibration: list[np.ndarray] = []
    if int8:
        root_of_train, train = evaluate.own_samples(run, "train")
        calibration = _pixels(spread(root_of_train, train, N_CALIBRATION), reference)
    return Images([root / s.path for s in chosen], evaluate.targets(reference, chosen), calibration)


def _from_folder(data: Path, reference: "Predictor", n: int | None, int8: bool) -> Images:
    """The images of a folder; for 8 bits every other one gives the scales, and is not compared on."""
    from imgclf.shipping.inference import images_under

    paths = images_under([data])
    if len(paths) < 2:
        raise DataError(f"--data {data}: {len(paths)} images there, and a comparison takes two", "name another folder")
    if not int8:
        return Images(list(chosen_of(paths, n)), None, [])
    return Images(list(chosen_of(paths[1::2], n)), None, _pixels(chosen_of(paths[::2], N_CALIBRATION), reference))


def _pixels(paths: Sequence[Path], reference: "Predictor") -> "list[np.ndarray]":
    """Images as the model takes them, those that can be read."""
    found = []
    for path in paths:
        try:
            found.append(reference.preprocess.load(path))
        except UNREADABLE:  # no image is needed more than another
            continue
    if not found:
        raise ExportError("none of the images for the scales of 8 bits can be read")
    return found
