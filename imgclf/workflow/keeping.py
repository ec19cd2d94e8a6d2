"""What training leaves behind: the bundle of the best epoch, judged, with its pictures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fastai.torch_core import get_model

from imgclf import runs
from imgclf.console import Terminal
from imgclf.results import abstention, answers, calibration, chosen, metrics, plots, thresholds, unlike
from imgclf.results.evaluate import Evaluation, Predictions
from imgclf.results.learning_curve_plot import learning_curve_plot
from imgclf.results.multilabel import MultiEvaluation
from imgclf.results.risk_plot import risk_coverage_plot
from imgclf.runs import Run
from imgclf.shipping import bundle, card, inference, layers
from imgclf.shipping.record import Record
from imgclf.training.ema import judged
from imgclf.training.features import Said
from imgclf.training.fit import Fitted
from imgclf.workflow import baselines, evaluate
from imgclf.workflow.evaluate import Figures
from imgclf.workflow.session import Session

ASKED = 16  # images
NEAR = 1e-4  # of the largest logit: kernels that add up in another order differ by less, other weights by more


def bundle_writer(run: Run, s: Session, lr: float) -> Callable[[Any], None]:
    """A function that writes the learner's present weights as the run's bundle."""

    made = record(run.name, s, lr, s.learn.model[1])  # now: several processes train a wrapped model

    def write(learn: Any) -> None:
        bundle.save(run.path, get_model(judged(learn)).state_dict(), made)

    return write


def record(name: str, s: Session, lr: float, head: Any) -> Record:
    """The bundle's record, before calibration."""
    return Record(
        classes=s.data.dataset.classes,
        task=s.data.dataset.task,
        preprocess=s.loaders.preprocess,
        arch=s.arch.name,
        head=layers.describe(head),
        cut=s.arch.cut,
        training={
            "run": name, "lr": lr, "pretrained": s.weights.pretrained,
            "fingerprint": s.data.fingerprint, "n_train": len(s.data.dataset.train),
        },
    )  # fmt: skip


def judge(run: Run, s: Session, fitted: Fitted, terminal: Terminal) -> Figures:
    """Calibrate the best model on the validation images, evaluate it through the bundle, and write everything down."""
    data = s.data.dataset
    bundle.complete(run.path)  # a kill between its two files left the older record
    predictor = inference.load(run.path, str(s.hardware.device), trust=True)  # its code, if any, has been run
    raw = _as_validated(s, predictor, fitted.said)
    if raw is None:
        raw = evaluate.predict(predictor, data.root, data.valid, terminal, features=True)
    temperature = calibration.fit_temperature(raw.logits, raw.targets)
    fitted_here = {"temperature": temperature, "thresholds": _thresholds(raw, temperature)}
    predictions, found = evaluate.judge(raw, **fitted_here)
    chosen_here = chosen.sentences("valid", data.task)
    familiar = None if raw.features is None else unlike.fit(raw.features)
    to_beat = baselines.judge(s, predictor, predictions, fitted, terminal)
    alike = to_beat["baselines"].get("neighbours", {}).get("sentence")
    found = replace(
        found,
        per_class=s.loaders.balance.annotate(found.per_class),
        warnings=[*([alike] if alike else []), *chosen_here, *found.warnings],
        unlike=_unlike(raw, familiar),
        **to_beat,
    )
    record = bundle.update(run.path, **fitted_here, metrics=evaluate.recorded(predictions, found, familiar))
    report = evaluate.report_data(found)
    card.write(run.path, record, report, data.root)
    runs.write_json(run.file(runs.EVAL_REPORT), report)
    runs.write_text(run.file(runs.PREDICTIONS), answers.to_csv(predictions))
    draw(run, predictions, found, data.root)
    if fitted.rows:
        plots.history_plot(fitted.rows, run.file(runs.PLOTS) / "history.png")
    return found


def _as_validated(s: Session, predictor: inference.Predictor, said: Said | None) -> Predictions | None:
    """What the best epoch's validation said, without another pass over the images: if the bundle says the same.

    A few images, from first to last, are asked of the bundle. Where it does not answer as in validation, as after a
    damaged write, it is to be judged by all of its own answers.
    """
    if said is None:
        return None
    items = list(s.loaders.dls.valid.items)
    asked = np.unique(np.linspace(0, len(items) - 1, ASKED).astype(int))
    given = [a.logits for a in predictor.predict(s.data.dataset.root / items[i].path for i in asked)]
    near = NEAR * max(1.0, float(np.abs(said.logits).max()))
    pairs = zip(given, said.logits[asked], strict=True)
    same = all(a is not None and np.allclose(a, b, rtol=0, atol=near) for a, b in pairs)
    return evaluate.labelled(predictor, items, said.logits, said.features) if same else None


def _unlike(raw: Predictions, familiar: unlike.Familiar | None) -> dict[str, Any] | None:
    """How many of the validation images the check fitted to them flags."""
    if familiar is None or raw.features is None:
        return None
    return unlike.summary(familiar.distances(raw.features), raw.paths, familiar, own=True)


def _thresholds(raw: Predictions, temperature: float) -> tuple[float, ...] | None:
    """For several labels an image: the probability from which each is given."""
    calibrated = replace(raw, temperature=temperature)
    return thresholds.tune(calibrated.probs, raw.targets) if raw.task == "multi" else None


def draw(run: Run, predictions: Predictions, found: Figures, root: Path) -> list[Path]:
    """The pictures of an evaluation, in the run's plots folder."""
    folder = run.file(runs.PLOTS)
    targets = predictions.targets
    before = calibration.reliability(replace(predictions, temperature=1.0).probs, targets)
    if isinstance(found, MultiEvaluation):
        overview, answered = plots.per_label_plot(found.per_class, folder / "labels.png"), []
    else:
        overview = _confusion(predictions, found, folder / "confusion.png")
        curve = abstention.curve(predictions.probs, targets)
        known = abstention.choices(predictions.probs, targets)
        answered = [risk_coverage_plot(curve, known, folder / "risk_coverage.png")]
    return [
        overview,
        plots.reliability_plot(before, calibration.reliability(predictions.probs, targets), folder / "reliability.png"),
        *answered,
        plots.top_losses_plot(found.top_losses, root, folder / "top_losses.png"),
        *_more_images(found, folder / "learning_curve.png"),
    ]


def _more_images(found: Figures, path: Path) -> list[Path]:
    """The learning curve as a picture, if there is one."""
    known = found.learning_curve is not None and found.learning_curve["figure"] is not None
    return [learning_curve_plot(found.learning_curve, path)] if known and found.learning_curve else []


def _confusion(predictions: Predictions, found: Evaluation, path: Path) -> Path:
    """The confusion matrix; where it would be too large, that of the classes most confused."""
    if found.confusion is not None:
        return plots.confusion_plot(found.confusion, found.classes, path)
    support = [row["n"] for row in found.per_class]
    chosen = metrics.confused_classes(found.most_confused, support, found.classes, plots.ANNOTATED)
    counts = metrics.confusion(predictions.probs, predictions.targets, chosen)
    names, images = [found.classes[i] for i in chosen], [support[i] for i in chosen]
    return plots.confusion_plot(counts, names, path, images, len(found.classes))
