"""Images unlike those a model knows: how far their features lie from where those of its own images lie.

A model answers whatever it is shown, and can be sure of it: a dog's breed for a handwritten digit. The features, the
body's pooled answer at length 1, tell: those of known images fill a few directions. A normal distribution with those
directions and one variance for all others (probabilistic principal components, Tipping and Bishop 1999) is fitted to
the validation images; the score is the Mahalanobis distance from its centre (as in Lee et al. 2018).
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np

from imgclf.errors import ModelError
from imgclf.results.baselines import normalised
from imgclf.results.metrics import wilson

DIRECTIONS = 16
RATE = 0.01  # of known images that are flagged all the same
LEAST, MOST = 20, 2_000  # images to fit to
FOLDS = 5
LEAST_VARIANCE, LEAST_THRESHOLD = 1e-12, 1e-6  # so that every distance is a number
MOST_FEATURES = 1 << 16
SHOWN = 20


@dataclass(frozen=True)
class Familiar:
    """Where the features of known images lie.

    Attributes:
        centre: (F,) float32. basis: (D, F) orthonormal directions, ``spread`` (D,) the variance along each.
        rest: The variance along every other direction.
        threshold: The squared distance from which on an image is unlike.
        rate: The share of known images that are expected to lie beyond it.
        n: Images it was fitted to.
    """

    centre: np.ndarray
    basis: np.ndarray
    spread: np.ndarray
    rest: float
    threshold: float
    rate: float
    n: int

    def distances(self, features: np.ndarray) -> np.ndarray:
        """How far each image lies from known ones, (N,), of pooled features (N, F): 1 is the border of the unlike.

        Raises:
            ModelError: for features of another body.
        """
        if features.shape[1] != len(self.centre):
            raise ModelError(
                f"the model's check for unlike images is for {len(self.centre)} features, its body gives "
                f"{features.shape[1]}",
                "its record is of another model: use the run it came from",
            )
        away = normalised(features.astype(np.float32)) - self.centre
        along = away @ self.basis.T
        left = np.maximum((away**2).sum(1) - (along**2).sum(1), 0)
        squared = (along**2 / self.spread).sum(1) + left / self.rest
        found: np.ndarray = np.sqrt(squared / self.threshold).astype(np.float64)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For a model's record: arrays as base64 of little-endian float32, the basis of float16."""
        return {
            "n": self.n, "rate": self.rate, "threshold": self.threshold, "rest": self.rest,
            "spread": self.spread.astype(float).tolist(),
            "centre": _text(self.centre, "<f4"), "basis": _text(self.basis, "<f2"),
        }  # fmt: skip


def fit(features: np.ndarray) -> Familiar | None:
    """Fit to the pooled features (N, F) of images that were not trained on; None for fewer than ``LEAST``.

    The threshold is a conformal quantile of distances that are cross-fitted in ``FOLDS`` parts, so that a new image of
    the same kind lies beyond it with a probability of about ``RATE`` (with N < 99 images 1 / (N + 1), the least they
    can vouch for).
    """
    if len(features) > MOST:
        features = features[np.random.default_rng(0).permutation(len(features))[:MOST]]
    n = len(features)
    if n < LEAST or not np.isfinite(features).all():
        return None
    part = np.random.default_rng(0).permutation(n) % FOLDS
    squared = np.empty(n)
    for k in range(FOLDS):
        squared[part == k] = _fitted(features[part != k]).distances(features[part == k]) ** 2
    rank = min(n, ceil((n + 1) * (1 - RATE)))
    threshold = float(np.sort(squared)[rank - 1])
    rate = max(RATE, 1 / (n + 1))
    return stored(_fitted(features, max(threshold, LEAST_THRESHOLD), rate).to_dict())  # as the record rounds it


def _fitted(features: np.ndarray, threshold: float = 1.0, rate: float = RATE) -> Familiar:
    x = normalised(features.astype(np.float64))
    centre = x.mean(0)
    _, singular, directions = np.linalg.svd(x - centre, full_matrices=False)
    variances = singular**2 / len(x)
    most = min(DIRECTIONS, len(x) // 5, x.shape[1] - 1)
    rest = float(variances[most:].sum()) / (x.shape[1] - most)
    least = max(rest, LEAST_VARIANCE)
    spread = np.maximum(variances[:most], least)
    as_read = directions[:most].astype(np.float16).astype(np.float32)
    return Familiar(
        centre.astype(np.float32), as_read, spread.astype(np.float32), least, threshold, rate, len(features)
    )


def stored(entry: Any) -> Familiar | None:
    """From a model's record, which may come from anywhere; None where it has none.

    Raises:
        ModelError: for values that cannot be right.
    """
    if entry is None:
        return None
    try:
        centre, basis = _array(entry["centre"], "<f4"), _array(entry["basis"], "<f2")
        spread = np.array(entry["spread"], dtype=np.float32)
        rest, threshold, rate, n = (entry[key] for key in ("rest", "threshold", "rate", "n"))
        found = Familiar(
            centre, basis.reshape(len(spread), len(centre)), spread, float(rest), float(threshold), float(rate), int(n)
        )
    except (TypeError, KeyError, ValueError, OverflowError) as e:
        raise ModelError(f"the model's check for unlike images cannot be right: {e!r:.100}") from e
    if not _can_be_right(found):
        raise ModelError("the model's check for unlike images holds numbers that cannot be right")
    return found


def _can_be_right(found: Familiar) -> bool:
    """Whether the numbers could have been fitted to features of length 1."""
    variances = [found.rest, *found.spread.tolist()]
    return (
        0 < found.rate < 1
        and isfinite(found.threshold)
        and found.threshold >= LEAST_THRESHOLD
        and all(LEAST_VARIANCE / 2 < value <= 1 for value in variances)
        and 0 < len(found.centre) <= MOST_FEATURES
        and bool((np.abs(found.centre) <= 1.001).all() and (np.abs(found.basis) <= 1.001).all())  # not of NaN either
    )


def _text(values: np.ndarray, kind: str) -> str:
    return b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


def _array(text: Any, kind: str) -> np.ndarray:
    return np.frombuffer(b64decode(text, validate=True), dtype=kind).astype(np.float32)


def summary(distances: np.ndarray, paths: Sequence[str], familiar: Familiar, own: bool) -> dict[str, Any]:
    """What an evaluation says: ``n``, ``flagged``, ``share`` with its interval, ``expected`` share, the ``farthest``.

    Args:
        distances: (N,), as ``Familiar.distances`` gives them; not a number where an image has none.
        own: Whether the check was fitted to these very images.
    """
    flagged = int((distances > 1).sum())
    order = np.argsort(-distances, kind="stable")[: min(SHOWN, flagged)]
    return {
        "n": len(distances), "flagged": flagged, "share": wilson(flagged, len(distances)).to_dict(),
        "expected": familiar.rate, "fitted_here": own,
        "farthest": [{"path": paths[i], "distance": round(float(distances[i]), 4)} for i in order],
    }  # fmt: skip


def warning(found: dict[str, Any]) -> list[str]:
    """A sentence, if more images are unlike than chance would have it."""
    if found["share"]["low"] <= found["expected"] or found["fitted_here"]:
        return []
    return [
        f"{found['flagged']:,} of {found['n']:,} images are unlike those the model was trained for "
        f"({found['expected']:.1%} would be by chance): on them its probabilities, and its calibration, mean little"
    ]


def sentence(found: dict[str, Any]) -> str:
    """``unlike the training images: 3 of 735 (0.4 %, 95 % interval 0.1–1.2; 1.0 % expected)``."""
    share = found["share"]
    here = "; fitted to these images" if found["fitted_here"] else ""
    return (
        f"unlike the training images: {found['flagged']:,} of {found['n']:,} ({100 * share['value']:.1f} %, 95 % "
        f"interval {100 * share['low']:.1f}–{100 * share['high']:.1f}; {100 * found['expected']:.1f} % expected{here})"
    )
