"""What a model makes of single images: from activations to a loss, and where in the image it looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imgclf import disk, runs
from imgclf.console import Terminal
from imgclf.data.location import keep_outside
from imgclf.errors import DataError, ModelError, UserError, did_you_mean
from imgclf.results import explain_view
from imgclf.results.explain import Explanation
from imgclf.results.explain import explain as take_apart
from imgclf.shipping import inference
from imgclf.shipping.inference import Predictor
from imgclf.shipping.prediction import Prediction
from imgclf.workflow import evaluate

MOST_MAPS = 3
LONGEST_NAME = 50  # characters of a picture's name: file systems take 255 bytes, and a character can have four
FROM_OPTION, FROM_FOLDER, FROM_SPLIT = "--label", "its folder's name", runs.SPLIT


@dataclass(frozen=True)
class Asked:
    """An image to explain, with its labels and where they come from; None: not known."""

    path: Path
    labels: tuple[str, ...] | None
    label_from: str | None


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image."""

    path: str
    error: str

    def to_dict(self) -> dict[str, str]:
        """Its row in the JSON."""
        return {"path": self.path, "error": self.error}


def explain(
    model: str | Path,
    images: Sequence[Path] = (),
    *,
    labels: Sequence[str] = (),
    top_losses: int | None = None,
    out: Path | None = None,
    runs_dir: Path = Path("runs"),
    device: str = "auto",
    terminal: Terminal | None = None,
    trust: bool = False,
) -> list[Explanation | Unreadable]:
    """Explain images, each with a picture of it and its heat maps.

    Args:
        model: A run, its name, a bundle folder or an exported ``.safetensors`` file.
        images: Files and folders.
        labels: Of all the images; empty: the name of each one's folder, where it is a class.
        top_losses: Instead of ``images``: so many of the run's validation images, those with the highest loss.
        out: A folder for the pictures; None: ``explain`` in the run folder, or here for a model without one.
        trust: Whether the code that a custom head names may run.

    Raises:
        ModelError: for a model without activations, as ONNX files are.
        DataError, UserError: for images that are not there, labels the model does not know, ``out`` among the data.
        RunError: if ``out`` cannot be written to.
    """
    terminal = terminal or Terminal(quiet=True)
    if bool(images) == (top_losses is not None):
        raise UserError("explain what?", "name image files, or ask for --top-losses N")
    path = evaluate.locate(model, runs_dir)
    predictor = inference.load(path, device, trust)
    if predictor.network is None:
        raise ModelError(
            f"{path} gives probabilities and no activations: nothing can be explained from it",
            "name the run or bundle it was exported from, or a .safetensors export",
        )
    run = evaluate.owner(path)
    out = out or (run / runs.EXPLAIN if run else Path(runs.EXPLAIN))
    _check_labels(predictor, labels)
    _keep_out(out, run, images, predictor)
    if top_losses is not None:
        asked = _worst(path, run, predictor, top_losses, terminal)
    else:
        asked = [_asked(file, predictor, labels) for file in inference.images_under(images)]
        if not asked:
            raise DataError(f"no images under {', '.join(map(str, images))}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"the pictures cannot be written to {out}: {e.strerror}", "name a folder: --out") from e
    names = _file_names([a.path for a in asked], ranked=top_losses is not None)
    with disk.explained(out):
        found = list(_explained(predictor, asked, [out / name for name in names], terminal))
    if any(isinstance(one, Explanation) and not one.heatmaps for one in found):
        terminal.warn("no heat maps: this architecture's features are of the image as a whole, without places")
    return found


def _explained(
    predictor: Predictor, asked: list[Asked], targets: list[Path], terminal: Terminal
) -> Iterator[Explanation | Unreadable]:
    answers = predictor.predict((a.path for a in asked), batch_size=16)
    with terminal.progress("explaining", len(asked)) as step:
        for one, answer, target in zip(asked, answers, targets, strict=True):
            step()
            if answer.logits is None:
                yield Unreadable(str(one.path), str(answer.error))
            else:
                yield _one(predictor, one, answer, target)


def _one(predictor: Predictor, one: Asked, answer: Prediction, target: Path) -> Explanation:
    from imgclf.shipping.gradcam import heatmaps

    assert answer.logits is not None
    classes, temperature = predictor.classes, predictor.temperature or 1.0
    found = take_apart(
        str(one.path), answer.logits, classes, temperature, one.labels, one.label_from, predictor.thresholds
    )
    wanted = mapped(found)
    image = predictor.preprocess.load(one.path)
    maps = heatmaps(predictor, image, [classes.index(name) for name in wanted])
    found = replace(found, heatmaps=wanted[: len(maps)], picture=str(target))
    explain_view.picture(found, image, np.asarray(maps), target)
    return found


def mapped(found: Explanation) -> tuple[str, ...]:
    """The classes to draw maps of: the first answer, labels it lacks, other answers; without any, the most probable."""
    missed = [name for name in found.labels or () if name not in found.preds]
    ordered = [*found.preds[:1], *missed, *found.preds[1:]] or [found.rows[0]["class"]]
    return tuple(ordered[:MOST_MAPS])


def _asked(path: Path, predictor: Predictor, labels: Sequence[str]) -> Asked:
    if labels:
        return Asked(path, tuple(labels), FROM_OPTION)
    folder = path.absolute().parent.name
    if predictor.task == "single" and folder in predictor.classes:
        return Asked(path, (folder,), FROM_FOLDER)
    return Asked(path, None, None)


def _worst(path: Path, run: Path | None, predictor: Predictor, n: int, terminal: Terminal) -> list[Asked]:
    """The images with the highest loss, in the order of an evaluation."""
    if run is None:
        raise ModelError(f"{path} does not belong to a run: which images?", "name them instead of --top-losses")
    root, samples = evaluate.own_samples(run, "valid")
    raw = evaluate.predict(predictor, root, samples, terminal)
    worst = evaluate.ranked(raw, n)
    labels = {sample.path: sample.labels for sample in samples}
    return [Asked(root / row["path"], tuple(labels[row["path"]]), FROM_SPLIT) for row in worst]


def _check_labels(predictor: Predictor, labels: Sequence[str]) -> None:
    unknown = [name for name in labels if name not in predictor.classes]
    if unknown:
        raise UserError(
            f"--label: the model has no class '{unknown[0]}'.{did_you_mean(unknown[0], predictor.classes)}",
            f"one of {', '.join(predictor.classes[:10])}{' …' if len(predictor.classes) > 10 else ''}",
        )
    if len(labels) > 1 and predictor.task == "single":
        raise UserError(f"--label {', '.join(labels)}: this model gives each image one label", "name one")


def _keep_out(out: Path, run: Path | None, images: Sequence[Path], predictor: Predictor) -> None:
    """No picture among the images: not in the run's data, a folder named, or the folder of a class."""
    evaluate.keep_out_of_data(run, out)
    for folder in (p for p in images if p.is_dir()):
        keep_outside(folder, out, "--out")
    for folder in {p.absolute().parent for p in images if not p.is_dir()}:
        if folder.name in predictor.classes or folder == out.absolute():
            keep_outside(folder, out, "--out")


def _file_names(paths: Sequence[Path], ranked: bool) -> list[str]:
    """A name for the picture of each: its own, with its rank, or a number where two are called the same."""
    stems = [path.stem[:LONGEST_NAME] for path in paths]
    if ranked:
        return [f"{i:02d}-{stem}.png" for i, stem in enumerate(stems, 1)]
    found: dict[str, str] = {}  # by what they are to a file system that takes large letters for small ones
    for stem in stems:
        names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(paths) + 2))
        name = next(name for name in names if name.casefold() not in found)
        found[name.casefold()] = name
    return [f"{name}.png" for name in found.values()]
