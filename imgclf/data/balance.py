"""Imbalance: how many training images each class has, and the weights that make up for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgclf.data.samples import Sample
from imgclf.errors import ConfigError
from imgclf.schema import Config

CAP = 10.0  # no class weighs more than this times the commonest: one image repeated a hundred times is memorised
UNEVEN = 5.0  # images of the largest class for one of the smallest: from here on it is worth a word


@dataclass(frozen=True)
class Imbalance:
    """The largest and the smallest class, and how many images the one has for each of the other."""

    largest: str
    smallest: str
    ratio: float

    @property
    def strong(self) -> bool:
        """Whether it is worth a word."""
        return self.ratio >= UNEVEN


@dataclass(frozen=True)
class Balance:
    """What is done about imbalance.

    Attributes:
        kind: ``none``, ``sampler`` or ``loss``.
        counts: Training images of each class (multi-label: of each label).
        weights: Of each class, in sampling or in the loss; empty for ``none``.
        note: All this in a line, for the user.
    """

    kind: str
    counts: dict[str, int]
    weights: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights for the loss; empty unless that is the kind."""
        return self.weights if self.kind == "loss" else {}

    def sample_weights(self, samples: Sequence[Sample]) -> list[float] | None:
        """How much more often each sample is drawn; None unless that is the kind."""
        return [self.weights.get(s.labels[0], 1.0) for s in samples] if self.kind == "sampler" else None

    def annotate(self, per_class: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of an evaluation, each with its class's ``n_train`` and, where there is one, ``weight``."""
        weight = {name: {"weight": value} for name, value in self.weights.items()}
        return [
            {**row, "n_train": self.counts.get(row["class"], 0), **weight.get(row["class"], {})} for row in per_class
        ]


def resolve(cfg: Config, train: Sequence[Sample], classes: Sequence[str], multi_label: bool = False) -> Balance:
    """Counts and weights for the configured kind.

    Raises:
        ConfigError: for a sampler where an image may have several labels.
    """
    kind = cfg.data.balance
    if kind == "sampler" and multi_label:
        raise ConfigError(
            "data.balance: sampler is for one label an image: drawing an image more often repeats all of its labels",
            "for this data: --set data.balance=loss",
        )
    found = Counter(label for sample in train for label in sample.labels)
    counts = {name: found[name] for name in classes}
    if kind == "none":
        weights = {}
    elif multi_label:
        weights = positive_weights(counts, len(train))
    else:
        weights = inverse_frequency(counts)
    return Balance(kind, counts, weights, _note(kind, counts, weights))


def inverse_frequency(counts: dict[str, int]) -> dict[str, float]:
    """Weights by inverse frequency, at most ``CAP`` times the smallest, and 1 on average over the images.

    So the loss keeps its scale, and with it the learning rate that suits.
    """
    most = max(counts.values())
    raw = {name: min(most / max(n, 1), CAP) for name, n in counts.items()}
    mean = sum(raw[name] * n for name, n in counts.items()) / sum(counts.values())
    return {name: weight / mean for name, weight in raw.items()}


def positive_weights(counts: dict[str, int], n_images: int) -> dict[str, float]:
    """For binary cross-entropy: images without a label to images with it, from 1 to ``CAP``."""
    return {name: min(max((n_images - n) / max(n, 1), 1.0), CAP) for name, n in counts.items()}


def imbalance(counts: Mapping[str, int]) -> Imbalance:
    """How uneven classes are, by their images; of one class or more."""
    least, most = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    return Imbalance(most, least, counts[most] / max(counts[least], 1))


def _note(kind: str, counts: dict[str, int], weights: dict[str, float]) -> str:
    found = imbalance(counts)
    most, least = counts[found.largest], counts[found.smallest]
    if most == least and not weights:
        return f"balance: every class has {most:,} training image" + "s" * (most != 1)
    text = (
        f"balance: {kind}; '{found.largest}' has {most:,} training images, '{found.smallest}' {least:,}: "
        f"{found.ratio:.1f} to 1"
    )
    if weights:
        return f"{text}; weights from {min(weights.values()):.2f} to {max(weights.values()):.2f}"
    if found.strong:
        return f"{text}. Rare classes may be neglected: --set data.balance=sampler, or loss"
    return text
