""" "I don't know": from which probability on an answer is given, so that few of the answers given are wrong.

The fewer images are answered, the surer ones first, the fewer answers are wrong: the risk-coverage curve (El-Yaniv and
Wiener 2010). A threshold is chosen for a rate of wrong answers: the lowest at which the rate is at most that, with 95 %
confidence (one-sided Clopper and Pearson 1934, exact for small samples: 59 answers without a mistake for 5 %, 299 for
1 %). The confidence is that of each threshold by itself, not of the best of many.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np

from imgclf.errors import GateError, ModelError, UserError
from imgclf.results.metrics import Interval, wilson

RATES = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
LEVEL = 0.95

Known = tuple[tuple[float, float], ...]  # rates, rising, each with its threshold


@dataclass(frozen=True)
class Curve:
    """The risk-coverage curve, a point for each probability at which answers can be cut off, the surest first.

    Attributes:
        thresholds: (K,) float64, falling: in the middle between two neighbouring probabilities, the last 0.
        answered: (K,) how many images reach the threshold.
        wrong: (K,) how many of those answers are wrong.
        n: All images.
    """

    thresholds: np.ndarray
    answered: np.ndarray
    wrong: np.ndarray
    n: int


@dataclass(frozen=True)
class Choice:
    """A threshold, and what came of it.

    Attributes:
        rate: The highest share of wrong answers asked for.
        threshold: The least probability of an answer that is given.
        error: The share of wrong ones among the answers given; ``low`` is 0, ``high`` the bound it was chosen by.
        coverage: The share of images that are answered, with Wilson's interval.
    """

    rate: float
    threshold: float
    error: Interval
    coverage: Interval

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Abstention:
    """What a rate of wrong answers asks of a model, on the images it is judged on.

    Attributes:
        rate: As asked for.
        chosen_here: Whether the threshold was chosen on these images; else it is the one in the model's record.
        reached: Whether there is a threshold for that rate; if not, ``choice`` is the best there is.
        unlike: How many of the answers ``choice`` gives are withheld all the same, as the images are unlike those the
            model knows; None where it cannot tell.
    """

    rate: float
    chosen_here: bool
    reached: bool
    choice: Choice
    unlike: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """``{"rate", "reached", "chosen_on", "threshold", "threshold_rate", "error", "coverage", "unlike"}``."""
        plain = self.choice.to_dict()
        return {
            "rate": self.rate, "reached": self.reached,
            "chosen_on": "these images" if self.chosen_here else "the validation images",
            "threshold": plain["threshold"], "threshold_rate": plain["rate"],
            "error": plain["error"], "coverage": plain["coverage"], "unlike": self.unlike,
        }  # fmt: skip


def choose_here(probs: np.ndarray, targets: np.ndarray, rate: float) -> Abstention:
    """Choose on these images, the validation images of a model."""
    check_rate(rate)
    of = curve(probs, targets)
    found = choose(of, rate)
    return Abstention(rate, True, found is not None, found or best(of))


def enforce(found: Abstention) -> None:
    """Raise if no threshold reaches the rate asked for.

    Raises:
        GateError: with the best there is.
    """
    if found.reached:
        return
    lowest = found.choice
    least = ceil(lowest.error.high * 1000) / 1000
    raise GateError(
        f"no threshold keeps wrong answers at {found.rate:g}: the lowest rate these {lowest.coverage.n} images vouch "
        f"for with 95 % confidence is {lowest.error.high:.4f} ({lowest.error.n} answers given, "
        f"{lowest.error.value:.4f} of them wrong)",
        f"--abstain {least:g}, or more validation images"
        if least < 1
        else "train a better model, or validate on more images",
    )


def curve(probs: np.ndarray, targets: np.ndarray) -> Curve:
    """The curve of probabilities (N, C) and class numbers (N,), N from 1."""
    confidence = probs.max(1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    ranked, wrong = confidence[order], np.cumsum((probs.argmax(1) != targets)[order])
    below = np.append(ranked[1:], -1.0)
    cuts = np.flatnonzero(ranked > below)  # between equal probabilities nothing can be cut
    middles = np.where(below[cuts] < 0, 0.0, (ranked[cuts] + below[cuts]) / 2)
    return Curve(middles, cuts + 1, wrong[cuts], len(ranked))


def at_most(wrong: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Clopper and Pearson's one-sided 95 % upper bounds of the share of wrong answers; 1 where there are none."""
    from scipy.special import betaincinv

    all_wrong = wrong >= answered
    bound: np.ndarray = betaincinv(wrong + 1.0, np.where(all_wrong, 1, answered - wrong), LEVEL)
    return np.where(all_wrong, 1.0, bound)


def choose(of: Curve, rate: float) -> Choice | None:
    """The threshold that answers the most images at that rate of wrong answers; None if none is good enough."""
    good = np.flatnonzero(at_most(of.wrong, of.answered) <= rate)
    return _choice(of, int(good[-1]), rate) if len(good) else None


def best(of: Curve) -> Choice:
    """The threshold with the lowest bound of all: the lowest rate these images can vouch for."""
    bounds = at_most(of.wrong, of.answered)
    lowest = int(bounds.argmin())
    return _choice(of, lowest, float(bounds[lowest]))


def choices(probs: np.ndarray, targets: np.ndarray) -> list[Choice]:
    """The thresholds of the usual ``RATES``, as far as they can be reached: what a model's record holds."""
    of = curve(probs, targets)
    return [found for rate in RATES if (found := choose(of, rate))]


def judged(probs: np.ndarray, targets: np.ndarray, rate: float, threshold: float) -> Choice:
    """What comes of a threshold chosen elsewhere, on these images."""
    given = probs.max(1).astype(np.float64) >= threshold
    wrong, n = int((probs.argmax(1) != targets)[given].sum()), int(given.sum())
    return Choice(rate, threshold, _error(wrong, n), wilson(n, len(targets)))


def stored(entries: Any) -> Known:
    """Rates, rising, and their thresholds, from a model's record, which may come from anywhere.

    Raises:
        ModelError: for entries that are not pairs of a rate and a threshold, both from 0 to 1.
    """
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        pair = [entry.get("rate"), entry.get("threshold")] if isinstance(entry, dict) else []
        shares = [float(value) for value in pair if value is not None and _is_share(value)]
        if len(shares) != 2:
            raise ModelError(f"the model's thresholds for abstaining cannot be right: {entry!r:.80}")
        found.append((shares[0], shares[1]))
    return tuple(sorted(found))


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def threshold_for(known: Known, rate: float) -> tuple[float, float]:
    """The rate and threshold to use for the rate asked for: the highest rate known that is no higher.

    Raises:
        UserError: for a rate that is no share.
        ModelError: if the model has none so low.
    """
    check_rate(rate)
    usable = [pair for pair in known if pair[0] <= rate]
    if usable:
        return usable[-1]
    rates = ", ".join(f"{known_rate:g}" for known_rate, _ in known)
    raise ModelError(
        f"the model has no threshold for {rate:g} wrong answers: "
        + (f"its validation images vouch for {rates}" if rates else "its record has none, for any rate"),
        f"--abstain {known[0][0]:g}"
        if known
        else "imgclf evaluate RUN --abstain RATE says which rate its images vouch for; more images, a lower one",
    )


def check_rate(rate: float) -> None:
    """Raise a UserError for a rate of wrong answers that cannot be meant."""
    if not 0 < rate < 1:
        raise UserError(f"--abstain {rate:g}: the rate of wrong answers is above 0 and below 1", "--abstain 0.01")


def sentence(found: Choice) -> str:
    """``answers 87.6 % (95 % interval …) of the images, from probability 0.9312 on; wrong: 0.7 %, at most 1.9 %``."""
    cover = found.coverage
    between = f"95 % interval {100 * cover.low:.1f}–{100 * cover.high:.1f}"
    wrong = f"{100 * found.error.value:.2f} % of {found.error.n}" if found.error.n else "unknown"
    return (
        f"answers {100 * cover.value:.1f} % of the images ({between}), from probability {found.threshold:.4f} on; "
        f"wrong: {wrong}, with 95 % confidence at most {100 * found.error.high:.2f} %"
    )


def summary(found: Sequence[Choice]) -> str:
    """What the thresholds kept are good for, in a line: the strictest, and up to two more that withhold answers."""
    if not found:
        return "these images vouch for no rate of wrong answers"
    some = [choice for choice in found[1:] if choice.coverage.value < 1]
    shown = [found[0], *some[:: max(1, len(some) // 2)][:2]]
    each = [f"{100 * c.rate:g} % wrong with {100 * c.coverage.value:.1f} % of the images answered" for c in shown]
    return "at most " + "; ".join(each)


def _choice(of: Curve, i: int, rate: float) -> Choice:
    answered = int(of.answered[i])
    return Choice(rate, float(of.thresholds[i]), _error(int(of.wrong[i]), answered), wilson(answered, of.n))


def _error(wrong: int, n: int) -> Interval:
    high = float(at_most(np.array([wrong]), np.array([n]))[0])
    return Interval(wrong / n if n else float("nan"), 0.0, high, n)
