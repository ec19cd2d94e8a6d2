"""Evaluate a model on labelled images: its own validation split, or other data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imgclf import runs
from imgclf.config import Override, load
from imgclf.console import Terminal, finite, some
from imgclf.data import balance, changes, scan, split
from imgclf.data.location import keep_out
from imgclf.data.samples import Sample, Samples
from imgclf.errors import DataError, ModelError, UserError, did_you_mean
from imgclf.results import abstention, shape, unlike
from imgclf.results.chosen import sentences
from imgclf.results.evaluate import Evaluation, Predictions
from imgclf.results.evaluate import evaluate as figures
from imgclf.results.multilabel import MultiEvaluation
from imgclf.shipping import inference
from imgclf.shipping.inference import Predictor
from imgclf.workflow.asked import Asked

PARTS = ("train", "valid", "test")
Figures = Evaluation | MultiEvaluation


def evaluate(
    model: str | Path | None = None,
    *,
    data: str | None = None,
    part: str | None = None,
    runs_dir: Path = Path("runs"),
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = 64,
    terminal: Terminal | None = None,
    trust: bool = False,
    asked: Asked = Asked(),
) -> Figures:
    """Judge a model.

    Args:
        model: A run, its name, a bundle folder or an exported file; None: the newest finished run.
        data: A labelled folder or table, read with the run's own data settings; None: the run's split.
        part: ``train``, ``valid`` or ``test`` of the run's split; None: ``valid``. With ``data`` every image counts.
        precision: As ``imgclf.load`` takes it.
        trust: Whether the code that a custom head names may run.
        asked: What is wanted beyond the usual figures.

    Raises:
        UserError: for what this model cannot be asked.
        ModelError, DataError: if the model or the labelled images cannot be found or do not fit together.
    """
    terminal = terminal or Terminal(quiet=True)
    if data is not None and part is not None:
        raise UserError("--split chooses a part of the run's own data; with --data every image counts", "leave one out")
    part = part or "valid"
    if part not in PARTS:
        raise UserError(f"--split: there is no part '{part}'.{did_you_mean(part, PARTS)}", f"one of {', '.join(PARTS)}")
    asked.check(part, data is not None)
    path = locate(model, runs_dir)
    predictor = inference.load(path, device, trust, precision)
    own_part = part if data is None else None
    asked.check_model(predictor, own_part == "valid")
    root, chosen = _labelled(path, data, part, predictor, terminal)
    run = owner(path)
    if data is None and run is not None:
        recorded = [row for row in changes.read(run / runs.SPLIT) if row.sample.split == part]
        if changed := changes.describe(recorded, changes.now(root, recorded)):
            terminal.warn(changed)
    terminal.note(f"evaluating {path} on {len(chosen)} images of {root}")
    raw = predict(predictor, root, chosen, terminal, batch_size)
    found = figures(raw)
    other = [f"computed in {precision} (--precision); a run's own figures are in fp32"] if precision != "fp32" else []
    found = replace(found, warnings=[*other, *sentences(own_part, raw.task), *found.warnings])
    found = _with_unlike(found, raw, predictor, own_part == "valid")
    found = asked.answer(found, raw, predictor, own_part == "valid")
    return found if run is None else _with_run(found, run, own_part)


def _with_unlike(found: Figures, raw: Predictions, predictor: Predictor, own: bool) -> Figures:
    """The figures, and how many images are unlike those the model knows, if it can tell."""
    if raw.distances is None or predictor.familiar is None:
        return found
    made = unlike.summary(raw.distances, raw.paths, predictor.familiar, own)
    return replace(found, unlike=made, warnings=[*unlike.warning(made), *found.warnings])


def _with_run(found: Figures, run: Path, part: str | None) -> Figures:
    """The figures beside what the run's files tell; of the baselines what its own validation images gave."""
    found = _with_training(found, run)
    if part != "valid":
        return found
    try:
        known = shape.read(run / runs.EVAL_REPORT)
    except ModelError:  # a run of a bundle alone, of another version, or damaged: its model can be judged all the same
        return found
    return replace(found, **{key: known[key] for key in ("baselines", "learning_curve") if key in known})


def _with_training(found: Figures, run: Path) -> Figures:
    """The figures of each class beside the training images it had, and its weight, as the run's files tell."""
    if not (run / runs.SPLIT).is_file() or not (run / runs.CONFIG).is_file():
        return found
    train = [row.sample for row in changes.read(run / runs.SPLIT) if row.sample.split == "train"]
    several = isinstance(found, MultiEvaluation)  # though each image of training may have one label by chance
    had = balance.resolve(load(str(run / runs.CONFIG)).config, train, found.classes, several)
    return replace(found, per_class=had.annotate(found.per_class))


def locate(model: str | Path | None, runs_dir: Path) -> Path:
    """The folder or file of a model: an existing path, else a run's name, else the newest finished run."""
    if model is not None and (Path(model).is_file() or (Path(model) / runs.WEIGHTS).is_file()):
        return Path(model)
    return runs.find(None if model is None else str(model), runs_dir).path


def owner(path: Path) -> Path | None:
    """The run folder a model belongs to: itself, or the one it was exported into."""
    return next((p for p in (path, *path.absolute().parents) if (p / runs.MANIFEST).is_file()), None)


def keep_out_of_data(run: Path | None, target: Path) -> None:
    """Refuse to write ``target`` among the images of the run a model belongs to; raises UserError."""
    if run is not None and (run / runs.CONFIG).is_file():
        keep_out(load(str(run / runs.CONFIG)).config, target, "--out")


def own_samples(run: Path, part: str) -> tuple[Path, tuple[Sample, ...]]:
    """Root and samples of one part of a run's split.

    Raises:
        DataError: if the part is empty or the images have moved.
    """
    root = Path(runs.Run(run).manifest().get("data_root", ""))
    found = tuple(s for s in split.read_csv(run / runs.SPLIT) if s.split == part)
    if not found:
        raise DataError(
            f"the run {run} has no {part} images", "choose another part, or give labelled images: --data PATH"
        )
    if not any((root / s.path).exists() for s in found):
        raise DataError(f"the images of {run} are no longer in {root}", "say where they are now: --data PATH")
    return root, found


def predict(
    predictor: Predictor,
    root: Path,
    chosen: Sequence[Sample],
    terminal: Terminal,
    batch_size: int = 64,
    features: bool = False,
) -> Predictions:
    """The model's logits for labelled images. Unreadable ones are left out and named.

    Args:
        features: Keep what the body says of each image too.

    Raises:
        DataError: if none can be read.
    """
    kept, given = [], []
    with terminal.progress("evaluating", len(chosen)) as step:
        answers = predictor.predict((root / s.path for s in chosen), batch_size)
        for sample, answer in zip(chosen, answers, strict=True):
            step()
            if answer.logits is None:
                terminal.warn(f"left out {sample.path}: {answer.error}")
                continue
            kept.append(sample)
            given.append(answer if features else replace(answer, features=None, probs=None))
    if not kept:
        raise DataError(f"none of the {len(chosen)} images under {root} can be read")
    return labelled(
        predictor, kept, np.stack([a.logits for a in given if a.logits is not None]),
        _all_or_none([a.features for a in given]), _all_or_none([a.distance for a in given]),
    )  # fmt: skip


def labelled(
    predictor: Predictor,
    chosen: Sequence[Sample],
    logits: np.ndarray,
    features: np.ndarray | None,
    distances: np.ndarray | None = None,
) -> Predictions:
    """A model's logits (N, C) for labelled images, and what else is known of these, as predictions."""
    return Predictions(
        tuple(s.path for s in chosen), logits, targets(predictor, chosen), predictor.classes, predictor.temperature,
        predictor.task, predictor.thresholds, features, distances,
    )  # fmt: skip


def _all_or_none(values: Sequence[Any]) -> np.ndarray | None:
    """The values as an array, unless the model has none."""
    return None if any(value is None for value in values) else np.array(values)


def targets(predictor: Predictor, labelled: Sequence[Sample]) -> np.ndarray:
    """Class numbers (N,); with several labels an image rows of 0 and 1 (N, C)."""
    if predictor.task == "multi":
        return np.array([[name in s.labels for name in predictor.classes] for s in labelled], dtype=np.int64)
    index = {name: i for i, name in enumerate(predictor.classes)}
    return np.array([index[s.label] for s in labelled], dtype=np.int64)


def judge(raw: Predictions, **changes: Any) -> tuple[Predictions, Figures]:
    """Predictions at another temperature or other thresholds, and all their figures."""
    predictions = replace(raw, **changes)
    return predictions, figures(predictions)


def ranked(raw: Predictions, n: int) -> list[dict[str, Any]]:
    """The ``n`` images with the highest loss, worst first: ``top_losses`` of an evaluation."""
    return figures(raw, n).top_losses


def recorded(predictions: Predictions, found: Figures, familiar: unlike.Familiar | None) -> dict[str, Any]:
    """What the bundle's record says of the model's worth, and from which probabilities on it may answer."""
    worth = {"accuracy": found.accuracy.to_dict(), "error_rate": found.error_rate, "ece": found.ece_after}
    if familiar is not None:
        worth["unlike"] = familiar.to_dict()
    if predictions.task == "multi":
        return worth
    known = abstention.choices(predictions.probs, predictions.targets)
    return {**worth, "abstention": [choice.to_dict() for choice in known]}


def report_data(found: Figures) -> dict[str, Any]:
    """The evaluation as JSON-ready values."""
    return dict(finite(found.to_dict()))


def _labelled(
    path: Path, data: str | None, part: str, predictor: Predictor, terminal: Terminal
) -> tuple[Path, tuple[Sample, ...]]:
    run = owner(path)
    if data is None:
        if run is None:
            raise ModelError(f"{path} does not belong to a run: judge it on what?", "give labelled images: --data PATH")
        return own_samples(run, part)
    source = str(run / runs.CONFIG) if run else None
    other = {
        "data.path": data,
        "data.labels": "auto",
        "data.csv": None,
        "data.image_folder": None,
        "data.split": None,
        "data.corrections": None,
        "data.group_by": None,
    }
    settings = [Override(key, value, "--data") for key, value in other.items()]
    try:
        found = scan.scan(load(source, settings).config, least_classes=1)
    except DataError as e:
        if "set data." not in (e.hint or ""):
            raise
        # Here nothing can be set.
        hint = f"{e.hint}, which is as it was in training; the usual names, such as image and label, are known too"
        raise DataError(e.message, hint.replace("; set data.", "; it is data.")) from e
    _check_labels(found, predictor, terminal)
    return found.root, found.items


def _check_labels(found: Samples, predictor: Predictor, terminal: Terminal) -> None:
    if found.multi_label != (predictor.task == "multi"):
        has, wants = ("several labels", "one label") if found.multi_label else ("one label", "several labels")
        raise DataError(
            f"the images under {found.root} have {has} each ({found.layout}), the model gives {wants}",
            "evaluate on images labelled as those it was trained on",
        )
    unknown = sorted(set(found.class_counts) - set(predictor.classes))
    if not unknown:
        return
    said = f"labels the model does not know: {some(unknown)}"
    if found.multi_label:
        terminal.warn(f"{said}; they are passed over")
        return
    raise DataError(
        f"{said}; it knows {', '.join(predictor.classes[:10])}", "evaluate on images of the classes it was trained on"
    )
