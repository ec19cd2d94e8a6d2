"""Does an exported file give the answers of the model it came from? Measured from the bytes of real image files.

What was found lies beside the file, as ``FILE.json``, with a few golden images to repeat the check anywhere.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgclf import __version__, runs
from imgclf.errors import DataError, ExportError, ModelError
from imgclf.shipping import effects, golden, graphs, inference
from imgclf.shipping.inference import Predictor
from imgclf.shipping.record import parse
from imgclf.shipping.tolerance import ANY_SIZE, REPEATED, TOLERANCES, Parity, Tolerance, compare

RUN_CODE = ("torch-export", "torchscript", "pkl")  # formats whose loaders may run what is in the file


class Answers(NamedTuple):
    """Probabilities (N, C) of a model and of its artefact for the files that can be read."""

    paths: list[Path]
    expected: np.ndarray
    found: np.ndarray


def answers(
    reference: Predictor,
    artefact_probs: Callable[[list[Path]], np.ndarray],
    paths: Sequence[Path],
    full_decode: bool = False,
) -> Answers:
    """Both answers, from file bytes to probabilities; files the model itself cannot read are left out.

    Args:
        full_decode: Let the model see JPEGs decoded at full size, as programs other than imgclf do.

    Raises:
        DataError: if no file can be read.
    """
    readable, expected = _answers(reference, paths, full_decode)
    return Answers(readable, expected, artefact_probs(readable))


def check(
    file: Path,
    fmt: str,
    bundle: Path,
    images: Sequence[Path],
    trust: bool = False,
    targets: np.ndarray | None = None,
    timed: bool = False,
) -> Parity:
    """Load an exported file as its user would, compare it with its bundle, and write the sidecar ``FILE.json``.

    The caller raises ``failure(...)`` if the result did not pass.

    Args:
        targets: The truth for ``images``, (N,) class numbers or (N, C) rows of 0 and 1: then the sidecar tells the
            accuracy before and after.
        timed: Whether the sidecar tells the latency.

    Raises:
        DataError: if no image can be read.
        ModelError: if the bundle or the file cannot be loaded.
        ExportError: if the file names other classes or thresholds.
    """
    reference = inference.load(bundle, trust=trust)
    artefact = None if fmt == "pkl" else _artefact(file, fmt, reference, trust)
    full_decode = fmt in ("pkl", *ANY_SIZE)  # JPEGs come to them as any program decodes them
    if fmt == "pkl":
        from imgclf.shipping.exporters import pkl

        images = pkl.comparable(reference.preprocess, images)
    seen = answers(reference, _artefact_probs(file, fmt, artefact, reference), images, full_decode)
    result = compare(seen.expected, seen.found, TOLERANCES[fmt], reference.thresholds)
    data = graphs.contents(file)
    facts = {
        "file": file.name,
        "format": fmt,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "imgclf_version": __version__,
        "passed": result.passed,
        "parity": result.to_dict(),
        "tolerance": asdict(TOLERANCES[fmt]),
        "accuracy": _accuracy(seen, images, targets, reference),
        "latency_ms": _latency(file, fmt, artefact, reference) if timed and artefact else None,
        "full_decode": _effect_of_full_decode(reference, images, TOLERANCES[fmt]) if full_decode else None,
        "preprocess": reference.preprocess.to_dict(),
        "golden": {"classes": list(reference.classes), "images": golden.make(reference, artefact, fmt, images)},
    }
    runs.write_json(sidecar(file), facts)
    return result


def _accuracy(
    seen: Answers, images: Sequence[Path], targets: np.ndarray | None, reference: Predictor
) -> dict[str, Any] | None:
    if targets is None or seen.found.shape != seen.expected.shape:
        return None
    place = {path: i for i, path in enumerate(images)}
    truth = targets[[place[path] for path in seen.paths]]
    return effects.accuracy(seen.expected, seen.found, truth, reference.thresholds)


def failure(file: Path, result: Parity) -> ExportError:
    """The error for an export that did not pass."""
    return ExportError(
        f"{file} gives other answers than the model it came from: probabilities differ by up to "
        f"{result.max_abs_diff:.2g}, the answer agrees on {result.top1_agreement:.1%} of {result.n_images} images",
        f"do not use it; {sidecar(file)} has the figures",
    )


def sidecar(file: Path) -> Path:
    """``model.onnx.json`` beside ``model.onnx``."""
    return file.with_name(f"{file.name}.json")


def verify_golden(file: Path, trust: bool = False) -> dict[str, Any]:
    """Check a file against its sidecar: its hash, and its answers for the golden images.

    Where loading the file may run code that is in it, only its hash is checked, unless ``trust`` says that it may; a
    ``.pkl`` is never loaded.

    Returns:
        ``{"file", "format", "checked": ["sha256", "golden"], "parity": {…} or None, "passed": True}``.

    Raises:
        ModelError: if the sidecar is missing or unreadable, or the file is.
        ExportError: if the file is not the one that was verified, or answers differently here.
    """
    facts = read_sidecar(file)
    _check_hash(file, facts)
    done = {"file": str(file), "format": facts["format"], "checked": ["sha256"], "parity": None, "passed": True}
    if facts["format"] in RUN_CODE and (facts["format"] == "pkl" or not trust):
        return done
    predictor = inference.load(file, trust=trust)
    images, expected = golden.arrays(facts, sidecar(file), predictor)
    run = _whole(file) if facts["format"] in ANY_SIZE else predictor.probs
    found = np.concatenate([run(image[None]) for image in images])
    repeated = REPEATED.get(facts["format"], TOLERANCES[facts["format"]])
    result = compare(expected, found, repeated, predictor.thresholds)
    if not result.passed:
        raise failure(file, result)
    return {**done, "checked": ["sha256", "golden"], "parity": result.to_dict()}


def _answers(reference: Predictor, paths: Sequence[Path], full_decode: bool = False) -> tuple[list[Path], np.ndarray]:
    found = [p for p in reference.predict(paths, full_decode=full_decode) if p.probs is not None]
    if not found:
        raise DataError(
            f"none of the {len(paths)} images to compare on can be read",
            "an export is checked on the run's validation images: are they where they were in training?",
        )
    return [p.path for p in found], np.stack([p.probs for p in found if p.probs is not None])


def _artefact(file: Path, fmt: str, reference: Predictor, trust: bool) -> Predictor:
    predictor = inference.load(file, trust=trust or fmt in RUN_CODE)  # just written: by us
    if predictor.classes != reference.classes:
        raise ExportError(f"{file} names other classes than the model it came from")
    if (predictor.task, predictor.thresholds) != (reference.task, reference.thresholds):
        raise ExportError(f"{file} has another task or other thresholds than the model it came from")
    return predictor


def _artefact_probs(
    file: Path, fmt: str, artefact: Predictor | None, reference: Predictor
) -> Callable[[list[Path]], np.ndarray]:
    if artefact is None:
        from imgclf.shipping.exporters import pkl

        return lambda paths: pkl.probs(file, paths, reference.classes)
    if fmt in ANY_SIZE:  # the artefact, being a Predictor, would bring the images to size itself
        run = _whole(file)
        return lambda paths: np.concatenate([run(np.asarray(reference.preprocess.open(path))[None]) for path in paths])
    return lambda paths: _answers(artefact, paths)[1]


def _whole(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 RGB (1, H, W, 3) to probabilities (1, C), all of it the file's own work."""
    return graphs.load(file, "cpu", trust=False).run


def _latency(file: Path, fmt: str, artefact: Predictor, reference: Predictor) -> dict[str, Any]:
    side = reference.preprocess.size
    return effects.latency(_whole(file), 2 * side) if fmt in ANY_SIZE else effects.latency(artefact.probs, side)


def _effect_of_full_decode(reference: Predictor, paths: Sequence[Path], tolerance: Tolerance) -> dict[str, Any]:
    """How far the model's own answers move when JPEGs are decoded at full size: nobody's fault, but worth knowing."""
    here, full = _answers(reference, paths)[1], _answers(reference, paths, full_decode=True)[1]
    moved = compare(here, full, tolerance, reference.thresholds)
    return {"max_abs_diff": moved.max_abs_diff, "top1_agreement": moved.top1_agreement}


def read_sidecar(file: Path) -> dict[str, Any]:
    """What ``check`` found out about a file.

    Raises:
        ModelError: if there is no file, no sidecar, or it is no sidecar.
    """
    path = sidecar(file)
    if not file.exists():
        raise ModelError(f"there is no file {file}")
    try:
        facts = parse(path.read_text(encoding="utf-8"), path)
    except OSError as e:
        raise ModelError(
            f"{file} has no {path.name} with golden images beside it ({e.strerror})",
            "exporting makes one: imgclf export RUN --format onnx",
        ) from e
    except UnicodeDecodeError as e:
        raise ModelError(f"{path} is not text") from e
    if not isinstance(facts, dict) or str(facts.get("format")) not in TOLERANCES or "sha256" not in facts:
        raise ModelError(f"{path} was not written by `imgclf export`")
    return facts


def _check_hash(file: Path, facts: dict[str, Any]) -> None:
    try:
        data = graphs.contents(file)
    except OSError as e:
        raise ModelError(f"the model file {file} cannot be read: {e.strerror}") from e
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise ExportError(
            f"{file} is not the file that was verified: its SHA-256 is another ({len(data):,} bytes now)",
            "copy it again, or export it again",
        )
    if facts.get("passed") is not True:
        raise ExportError(f"{file} did not pass when it was exported", f"{sidecar(file)} has the figures")
