"""The plan of a run as data: its phases, and the learning rate of every layer group. Printed, tested, then fitted.

The book's ``fine_tune`` is two ``fit_one_cycle`` calls with constants one cannot see from outside. Here the same two
phases are a list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from imgclf.schema import Config

# fine_tune's and fit_one_cycle's own defaults (fastai 2.8).
FROZEN_PCT_START, FROZEN_DIV = 0.99, 25.0
UNFROZEN_PCT_START, UNFROZEN_DIV = 0.3, 5.0
CYCLE_PCT_START, CYCLE_DIV = 0.25, 25.0


@dataclass(frozen=True)
class Phase:
    """One ``fit_one_cycle``: epochs, what trains, and how the learning rate moves.

    Attributes:
        frozen: Only the last layer group (the head) trains.
        lrs: The highest learning rate of each layer group, body first.
        pct_start: Share of the steps in which the learning rate rises.
        div: The learning rate starts at ``lrs / div``.
    """

    name: str
    epochs: int
    frozen: bool
    lrs: tuple[float, ...]
    pct_start: float
    div: float


@dataclass(frozen=True)
class Plan:
    """The phases of a run and what they amount to."""

    phases: tuple[Phase, ...]
    batches_per_epoch: int
    reason: str

    @property
    def epochs(self) -> int:
        return sum(p.epochs for p in self.phases)

    @property
    def steps(self) -> int:
        return self.epochs * self.batches_per_epoch


def schedule(cfg: Config, pretrained: bool) -> tuple[list[tuple[str, int]], str]:
    """Names and epochs of the phases, and why."""
    epochs, freeze_epochs = cfg.train.epochs, cfg.train.freeze_epochs
    if cfg.train.recipe == "auto" and not pretrained:
        reason = "nothing is pretrained: no frozen phase, all layers at one learning rate (train.recipe: auto)"
        return [("one_cycle", epochs or freeze_epochs)], reason
    phases = [("frozen", freeze_epochs), ("unfrozen", epochs)]
    return [p for p in phases if p[1]], "the head first, then all layers at discriminative rates"


def build(cfg: Config, *, pretrained: bool, lr: float, n_groups: int, batches_per_epoch: int) -> Plan:
    """The plan for a highest learning rate ``lr`` and a model of ``n_groups`` layer groups."""
    names, reason = schedule(cfg, pretrained)
    mult = cfg.train.lr_mult
    made = {
        "frozen": lambda n: Phase("frozen", n, True, frozen_lrs(lr, n_groups), FROZEN_PCT_START, FROZEN_DIV),
        "unfrozen": lambda n: Phase(
            "unfrozen", n, False, spread(lr / 2 / mult, lr / 2, n_groups), UNFROZEN_PCT_START, UNFROZEN_DIV
        ),
        "one_cycle": lambda n: Phase("one_cycle", n, False, (lr,) * n_groups, CYCLE_PCT_START, CYCLE_DIV),
    }
    return Plan(tuple(made[name](epochs) for name, epochs in names), batches_per_epoch, reason)


def frozen_lrs(lr: float, n: int) -> tuple[float, ...]:
    """What fastai makes of ``slice(lr)``: a tenth for all groups but the last."""
    return (*(lr / 10,) * (n - 1), lr)


def spread(low: float, high: float, n: int) -> tuple[float, ...]:
    """``n`` rates from ``low`` to ``high`` in equal ratios, as fastai makes of ``slice(low, high)``."""
    if n == 1:
        return (high,)
    step = (high / low) ** (1 / (n - 1))
    return tuple(low * step**i for i in range(n))


def lr_range(phase: Phase) -> str:
    """The different rates, first layers first: ``"1e-05 … 0.0001 … 0.001"``, or the one rate."""
    return " … ".join(f"{lr:.2g}" for lr in _unique(phase.lrs))


def _unique(lrs: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(lrs))
