"""What a run has to beat, from features that are at hand or computed once: baselines and the learning curve."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from imgclf.console import Terminal
from imgclf.data import folds, neighbours
from imgclf.data.samples import Sample
from imgclf.results import baselines, beside, learning_curve, metrics
from imgclf.results.baselines import Frozen
from imgclf.results.evaluate import Predictions
from imgclf.schema import Config
from imgclf.shipping.inference import Predictor
from imgclf.training import features
from imgclf.training.fit import Fitted
from imgclf.workflow import evaluate, frozen
from imgclf.workflow.session import Session


def judge(
    s: Session, predictor: Predictor, predictions: Predictions, fitted: Fitted, terminal: Terminal
) -> dict[str, Any]:
    """``baselines`` and ``learning_curve`` of a report; each says ``why`` where it has no figures.

    Args:
        predictor: The run's model.
        predictions: Its answers on the validation images.
        fitted: If it was interrupted, nothing is computed that takes a pass over the images.
    """
    train = s.data.dataset.train
    found: dict[str, Any] = {
        "majority": baselines.majority(
            evaluate.targets(predictor, train), predictions.targets, predictor.classes
        ),
        "probe": None, "why": _reason(s.cfg, s.weights.pretrained),
    }  # fmt: skip
    nothing = {"figure": None, "why": found["why"]}
    if found["why"] is not None:
        return {"baselines": found, "learning_curve": nothing}
    started = time.perf_counter()
    known = _at_hand(s, predictor, predictions) or (
        None if fitted.interrupted else _computed(s, predictor, predictions)
    )
    if known is None:
        why = "the run was interrupted"
        return {"baselines": {**found, "why": why}, "learning_curve": {**nothing, "why": why}}
    terminal.note(f"baselines: classifiers on the frozen features of {len(known.train):,} images (train.baselines)")
    right = metrics.right(predictions.probs, predictions.targets, predictions.thresholds)
    found["probe"] = baselines.probes(known, right, _body_was_trained(fitted))
    curve = learning_curve.curve(known, found["probe"].get("logistic_regression", {}).get("C"))
    if s.data.drawn and known.groups is None:
        found["neighbours"] = beside.neighbours(neighbours.find(known.train, known.targets))
    found["probe"]["seconds"] = round(time.perf_counter() - started, 2)
    return {"baselines": found, "learning_curve": curve}


def _body_was_trained(fitted: Fitted) -> bool:
    """Whether the epoch kept is of a phase that trains more than the head."""
    return fitted.best is None or fitted.best.phase not in ("probe", "frozen")


def _reason(cfg: Config, pretrained: bool) -> str | None:
    """Why there is no probe to compare with."""
    wanted = cfg.train.baselines
    if not pretrained:
        return baselines.RANDOM
    return None if wanted else baselines.OFF


def _at_hand(s: Session, predictor: Predictor, predictions: Predictions) -> Frozen | None:
    """The features that the probe phase of this process kept, if it had one."""
    probe = s.learn.probe
    if probe is None or probe.kept is None or probe.judged is None:
        return None
    train, chosen = probe.kept
    items = list(s.loaders.dls.train.items)
    valid = {sample.path: i for i, sample in enumerate(s.loaders.dls.valid.items)}
    places = [valid[path] for path in predictions.paths]
    return _frozen(s, predictor, predictions, train, [items[i] for i in chosen], probe.judged[places])


def _computed(s: Session, predictor: Predictor, predictions: Predictions) -> Frozen:
    """The features of the body as it was before training, from a pass over the images, of very many a part."""
    root, every = s.data.dataset.root, list(s.data.dataset.train)
    train = [every[i] for i in features.some(len(every))]
    paths = [root / path for path in [*(x.path for x in train), *predictions.paths]]
    with s.terminal.progress("baselines", len(paths)) as step:
        seen = frozen.features(s.arch, s.weights, s.loaders.preprocess, str(s.hardware.device), paths, step)
    found, judged = seen[: len(train)], seen[len(train) :]
    kept = [x for x, row in zip(train, found, strict=True) if row is not None]
    shown = np.stack([row for row in judged if row is not None])
    return _frozen(s, predictor, predictions, np.stack([row for row in found if row is not None]), kept, shown)


def _frozen(
    s: Session,
    predictor: Predictor,
    predictions: Predictions,
    train: np.ndarray,
    kept: Sequence[Sample],
    judged: np.ndarray,
) -> Frozen:
    return Frozen(
        train, evaluate.targets(predictor, kept), judged, predictions.targets, predictor.classes,
        f"{s.arch.name}, {s.weights.note}", len(s.data.dataset.train), folds.named(kept),
    )  # fmt: skip
