"""What a model has to beat: the commonest class, and simple classifiers on the features of the body it began from.

A frozen-feature probe: the pretrained body gives the features of every image once, and scikit-learn's logistic
regression and a vote of nearest neighbours classify them. What training the layers bought is what the model has right
beyond that.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imgclf.data.folds import folds
from imgclf.results import metrics, multilabel
from imgclf.results.compare import mcnemar

NEIGHBOURS = 10
STRENGTHS = (1.0, 10.0, 100.0)  # C of the logistic regression, from which cross-validation chooses
FOLDS = 3
MOST_WORK = 1e8  # images x features x classes that a logistic regression is fitted to: about 15 s on a core
CLEAR = 0.05  # p-values below are called a difference
NAMES = {"logistic_regression": "logistic regression", "knn": "nearest neighbours"}
RANDOM = "random weights: there is no pretrained body to compare with"
OFF = "switched off (train.baselines: false)"


@dataclass(frozen=True)
class Frozen:
    """What the pretrained body says of the images of a run. Letters: N and M images, F features, C classes.

    Attributes:
        train: (N, F) float32 of training images; ``targets`` (N,) class numbers, or (N, C) of 0 and 1.
        judged: (M, F) of the images the model is judged on, in that order; ``truth`` as ``targets``.
        body: The body and its weights, in words.
        of: How many training images there are, if these are a random part of them.
        groups: The number (N,) of each training image's group; None where there are none.
    """

    train: np.ndarray
    targets: np.ndarray
    judged: np.ndarray
    truth: np.ndarray
    classes: tuple[str, ...]
    body: str
    of: int
    groups: np.ndarray | None = None

    @property
    def multi(self) -> bool:
        return self.targets.ndim == 2

    def subset(self, chosen: np.ndarray) -> "Frozen":
        """The same with some of the training images alone."""
        groups = None if self.groups is None else self.groups[chosen]
        return replace(self, train=self.train[chosen], targets=self.targets[chosen], groups=groups)


def normalised(features: np.ndarray) -> np.ndarray:
    """Every row at length 1: how bright or contrasty an image is scales all of its features alike."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: np.ndarray = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def majority(targets: np.ndarray, truth: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Always the class, or set of labels, that is commonest in training: ``label`` or ``labels``, and ``accuracy``.

    Args:
        targets: Of the training images, (N,) or (N, C); ``truth`` of the images judged.
    """
    if targets.ndim == 1:
        best = int(np.bincount(targets, minlength=len(classes)).argmax())
        return {"label": classes[best], "accuracy": metrics.wilson(int((truth == best).sum()), len(truth)).to_dict()}
    sets = Counter(map(bytes, (targets > 0).astype(np.uint8)))
    common = np.frombuffer(max(sets, key=lambda one: sets[one]), np.uint8) > 0
    right = int(((truth > 0) == common).all(1).sum())
    labels = list(multilabel.names(classes, common))
    shares = np.broadcast_to((targets > 0).mean(0), truth.shape)
    return {
        "labels": labels, "accuracy": metrics.wilson(right, len(truth)).to_dict(), "mAP": _mean_ap(shares, truth),
    }  # fmt: skip


def always(common: dict[str, Any]) -> str:
    """The answer that ``majority`` gives, in words."""
    return f"always '{common['label'] if 'label' in common else ', '.join(common['labels']) or 'no label'}'"


def probes(frozen: Frozen, right: np.ndarray, trained: bool) -> dict[str, Any]:
    """What the probes reach on the images judged, and the model beside the first of them.

    Args:
        right: (M,) bool, which images the model has (all labels) right.
        trained: Whether more than the model's head was trained.

    Returns:
        ``{"body", "n_train", "n_train_of", "features", "logistic_regression": {"accuracy", "C"}, "knn": {"accuracy",
        "k"}, "paired": {"probe", "only_model", "only_probe", "n", "p_value", "sentence"}}``; with several labels an
        image each probe has ``mAP`` too. Without logistic regression where it would take too long.
    """
    found: dict[str, Any] = {
        "body": frozen.body, "n_train": len(frozen.train), "n_train_of": frozen.of, "features": frozen.train.shape[1],
    }  # fmt: skip
    answers = {}
    if affordable(frozen):
        strength = choose_strength(frozen)
        answers["logistic_regression"] = logistic(frozen, strength), {"C": strength}
    answers["knn"] = nearest(frozen), {"k": min(NEIGHBOURS, len(frozen.train))}
    for name, (scores, settings) in answers.items():
        found[name] = {**_judged(scores, frozen), **settings}
    first = next(iter(answers))
    found["paired"] = paired(NAMES[first], right, metrics.right(answers[first][0], frozen.truth), trained)
    return found


def affordable(frozen: Frozen) -> bool:
    """Whether a logistic regression takes seconds."""
    return frozen.train.size * len(frozen.classes) <= MOST_WORK


def paired(name: str, model: np.ndarray, probe: np.ndarray, trained: bool) -> dict[str, Any]:
    """The exact McNemar test between model and probe, from which images (M,) each has right, with a sentence."""
    only_model, only_probe, n = int((model & ~probe).sum()), int((probe & ~model).sum()), len(model)
    p_value = mcnemar(only_model, only_probe)
    what = "fine-tuning" if trained else "this model, of which only the head was trained,"
    better = what.rstrip(",") if only_model > only_probe else "the probe"
    verdict = f"{better} is better" if p_value < CLEAR else "no clear difference"
    sentence = (
        f"{what} against the probe ({name}): of {n:,} images only the model has {only_model} right and only the probe "
        f"{only_probe}, p = {p_value:.2g} (exact McNemar test): {verdict}"
    )
    return {
        "probe": name, "only_model": only_model, "only_probe": only_probe, "n": n, "p_value": p_value,
        "sentence": sentence,
    }  # fmt: skip


def _judged(scores: np.ndarray, frozen: Frozen) -> dict[str, Any]:
    right = metrics.right(scores, frozen.truth)
    found: dict[str, Any] = {"accuracy": metrics.wilson(int(right.sum()), len(right)).to_dict()}
    return {**found, "mAP": _mean_ap(scores, frozen.truth)} if frozen.multi else found


def _mean_ap(scores: np.ndarray, truth: np.ndarray) -> float | None:
    found = [multilabel.average_precision(scores[:, i], truth[:, i] > 0) for i in range(truth.shape[1])]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def nearest(frozen: Frozen, k: int = NEIGHBOURS) -> np.ndarray:
    """The share of each class, (M, C), among the k training images nearest by angle, nearer ones counting more."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=min(k, len(frozen.train)), metric="cosine").fit(frozen.train)
    distances, places = found.kneighbors(frozen.judged)
    weights = np.maximum(1 - distances, 1e-6)
    shares = weights / weights.sum(1, keepdims=True)
    votes = np.zeros((len(frozen.judged), len(frozen.classes)))
    for share, place in zip(shares.T, places.T, strict=True):  # all at once would be k times the memory
        if frozen.multi:
            votes += share[:, None] * (frozen.targets[place] > 0)
        else:
            votes[np.arange(len(votes)), frozen.targets[place]] += share
    return votes


def logistic(frozen: Frozen, strength: float) -> np.ndarray:
    """The probability of each class, (M, C), by logistic regression; with several labels one for each.

    Args:
        strength: scikit-learn's C: the larger, the closer to the training images.
    """
    train, judged = normalised(frozen.train), normalised(frozen.judged)
    fit = _fit_labels if frozen.multi else _fit_classes
    return fit(train, frozen.targets, judged, len(frozen.classes), strength)


def choose_strength(frozen: Frozen) -> float:
    """The C with the fewest wrong answers in a cross-validation over the training images; the least of equal ones."""
    part = folds(frozen.targets, FOLDS, frozen.groups)
    wrong = []
    for strength in STRENGTHS:
        count = 0
        for k in range(FOLDS):
            here, rest = np.flatnonzero(part == k), np.flatnonzero(part != k)
            if not len(here) or not len(rest):
                continue
            held = replace(frozen.subset(rest), judged=frozen.train[here], truth=frozen.targets[here])
            count += int((~metrics.right(logistic(held, strength), held.truth)).sum())
        wrong.append(count)
    return STRENGTHS[int(np.argmin(wrong))]


def _fit_classes(
    train: np.ndarray, targets: np.ndarray, judged: np.ndarray, n_classes: int, strength: float
) -> np.ndarray:
    scores = np.zeros((len(judged), n_classes))
    there = np.unique(targets)
    scores[:, there] = 1.0 if len(there) == 1 else _regression(train, targets, strength)(judged)
    return scores


def _fit_labels(
    train: np.ndarray, targets: np.ndarray, judged: np.ndarray, n_classes: int, strength: float
) -> np.ndarray:
    scores = np.empty((len(judged), n_classes))
    for i, there in enumerate(targets.T > 0):
        constant = there.all() or not there.any()  # nothing to tell apart
        scores[:, i] = there.mean() if constant else _regression(train, there, strength)(judged)[:, 1]
    return scores


def _tolerance(train: np.ndarray, targets: np.ndarray) -> float:
    """The largest slope of the mean loss to stop at: 1e-3, or less where it begins nearly as flat as that.

    It is flatter the more classes there are. From a hundred or so on scikit-learn would not take a single step to 1e-3.
    """
    there = targets[:, None] == np.unique(targets)
    steepest = np.abs(train.T @ (there - there.mean(0))).max() / len(train)
    return float(min(1e-3, max(0.05 * steepest, 1e-9)))


def _regression(train: np.ndarray, targets: np.ndarray, strength: float) -> Callable[[np.ndarray], Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Its steps are so short that the threads of NumPy's and SciPy's BLAS mostly wait for each other: one is quicker.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a last digit of a baseline
        fitted = LogisticRegression(C=strength, max_iter=300, tol=_tolerance(train, targets)).fit(train, targets)
    answer: Callable[[np.ndarray], Any] = fitted.predict_proba
    return answer
