"""The plan of a run as data: its phases, and the learning rate of every layer group. Printed, tested, then fitted.

The book's ``fine_tune`` is two ``fit_one_cycle`` calls with constants one cannot see from outside. Here the same two
phases are a list, and so is every other schedule.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from imgclf.errors import ConfigError
from imgclf.schema import Config


@dataclass(frozen=True)
class Curve:
    """How the learning rates move within a phase.

    Attributes:
        shape: ``one_cycle``: up from ``lrs / div``, then down to nearly nothing, as fastai's ``fit_one_cycle``;
            ``flat_cos``: level, then down, as its ``fit_flat_cos``; ``closed_form``: no steps, the head is computed.
        pct_start: Share of the steps before the way down.
    """

    shape: Literal["one_cycle", "flat_cos", "closed_form"]
    pct_start: float
    div: float = 1.0


# The own defaults of fine_tune, fit_one_cycle and fit_flat_cos (fastai 2.8).
FROZEN = Curve("one_cycle", 0.99, 25.0)
UNFROZEN = Curve("one_cycle", 0.3, 5.0)
ONE_CYCLE = Curve("one_cycle", 0.25, 25.0)
FLAT_COS = Curve("flat_cos", 0.75)
PROBE = Curve("closed_form", 0.0)
LR_MULT = 100.0  # fine_tune's, where train.lr_mult is auto
PROBE_LR_MULT = 1.0  # after the probe, whose head needs the least
FREEZE_EPOCHS = 1  # where train.freeze_epochs is auto

HEAD_ONLY, LAST_OF_BODY, ALL_LAYERS = -1, -2, 0


@dataclass(frozen=True)
class Phase:
    """One fit: epochs, what trains, and how the learning rate moves.

    Attributes:
        freeze_to: The first layer group that trains, counted as in a list: 0 all of them, -1 the last (the head) alone,
            -2 the last of the body too (of a ResNet stages 3 and 4).
        lrs: The highest learning rate of each layer group, body first; empty while it is still to be found.
        sizes: The side of the training images in each epoch, pixels; empty: ``augment.size`` in all of them.
    """

    name: str
    epochs: int
    freeze_to: int
    lrs: tuple[float, ...]
    curve: Curve
    sizes: tuple[int, ...] = ()

    @property
    def epochs_of_steps(self) -> int:
        """The epochs that are made of training steps."""
        return 0 if self.curve.shape == "closed_form" else self.epochs

    @property
    def parts(self) -> list["Phase"]:
        """The phase cut where the size of the images changes."""
        counts = Counter(self.sizes)
        return [replace(self, epochs=n, sizes=(size,) * n) for size, n in counts.items()] or [self]


@dataclass(frozen=True)
class Plan:
    """The phases of a run and what they amount to."""

    phases: tuple[Phase, ...]
    batches_per_epoch: int
    reason: str

    @property
    def epochs(self) -> int:
        return sum(p.epochs_of_steps for p in self.phases)

    @property
    def steps(self) -> int:
        return self.epochs * self.batches_per_epoch


def _asked(cfg: Config) -> tuple[str, str, int | str]:
    """Recipe, schedule and frozen epochs, as configured."""
    return cfg.train.recipe, cfg.train.schedule, cfg.train.freeze_epochs


def is_of_the_book(cfg: Config) -> bool:
    """Whether the recipe is fastai's ``fine_tune``, loss for loss."""
    return _asked(cfg)[0] == "book"


def wants_probe(cfg: Config, pretrained: bool) -> bool:
    """Whether the recipe begins with the probe, if head and data allow it."""
    return pretrained and _asked(cfg) == ("auto", "auto", "auto")


def from_random(cfg: Config, pretrained: bool) -> bool:
    """Whether it is the recipe that trains all layers from random weights, in one cycle."""
    chosen = not pretrained and _asked(cfg)[1] == "auto"
    return chosen and [phase.curve for phase in _phases(cfg, pretrained, False)[0]] == [ONE_CYCLE]


def _unfreezes_to(cfg: Config, probe: bool, familiar: bool) -> int:
    """The first layer group that trains once unfrozen; ``auto``: all, and after the probe the last of the body.

    The first layers of a pretrained body are alike for all images, and their backward pass takes the longest.
    """
    wanted = cfg.train.freeze_to
    if wanted == "auto":
        return LAST_OF_BODY if probe and familiar else ALL_LAYERS
    return wanted


def staying(cfg: Config, probe: bool, n_groups: int, familiar: bool = True) -> int:
    """How many of the first of ``n_groups`` layer groups stay as they are once unfrozen."""
    return _unfreezes_to(cfg, probe, familiar) % n_groups


def schedule(cfg: Config, pretrained: bool, probe: bool = False, familiar: bool = True) -> tuple[list[Phase], str]:
    """The phases, their learning rates as configured (stages) or empty (all others), and why these phases.

    Args:
        probe: The recipe wants the probe, and head and data allow it.
        familiar: The body's last layers suit the images.

    Raises:
        ConfigError: for more sizes than epochs.
    """
    phases, reason = _phases(cfg, pretrained, probe, familiar)
    return resized(phases, cfg.augment.sizes or ()), reason


def resized(phases: list[Phase], sizes: tuple[int, ...]) -> list[Phase]:
    """The phases with the size of each epoch: all epochs in equal parts, what is left over to the larger sizes.

    The cycle of a phase takes no notice: a size is no phase of its own.
    """
    n = sum(phase.epochs_of_steps for phase in phases)
    if len(sizes) > n:
        raise ConfigError(
            f"augment.sizes has {len(sizes)} sizes {list(sizes)} for {n} epoch{'s' * (n != 1)}: each needs one",
            "train more epochs (--epochs) or name fewer sizes",
        )
    share, over = divmod(n, len(sizes) or 1)
    each = (size for i, size in enumerate(sizes) for _ in range(share + (i >= len(sizes) - over)))
    return [replace(phase, sizes=tuple(islice(each, phase.epochs_of_steps))) for phase in phases]


def _phases(cfg: Config, pretrained: bool, probe: bool, familiar: bool = True) -> tuple[list[Phase], str]:
    (recipe, kind, freeze_epochs), epochs = _asked(cfg), cfg.train.epochs
    freeze_to = _unfreezes_to(cfg, probe, familiar)
    if probe:
        phases = [Phase("probe", 1, HEAD_ONLY, (), PROBE), Phase("unfrozen", epochs, freeze_to, (), UNFROZEN)]
        then = "then the body too" if epochs else "no epoch of steps follows"
        reason = f"the best linear head for the frozen body, computed at once; {then} (train.recipe: auto)"
        return [p for p in phases if p.epochs], reason
    if kind == "auto":
        asked = recipe == "book" or epochs == 0 or freeze_epochs not in ("auto", 0)
        kind = "fine_tune" if pretrained or asked else "one_cycle"
        if kind == "one_cycle":
            reason = "nothing is pretrained: no frozen phase, all layers at one learning rate (train.schedule: auto)"
            return [Phase(kind, epochs, ALL_LAYERS, (), ONE_CYCLE)], reason
    if kind == "one_cycle":
        return [Phase(kind, epochs, ALL_LAYERS, (), ONE_CYCLE)], "all layers from the start, at one learning rate"
    if kind == "flat_cos":
        reason = "all layers from the start, at one learning rate, level at first"
        return [Phase(kind, epochs, ALL_LAYERS, (), FLAT_COS)], reason
    if kind == "staged":
        stages = enumerate(cfg.train.stages or (), 1)
        made = [Phase(f"stage{i}", s.epochs, s.freeze_to, s.lrs, ONE_CYCLE) for i, s in stages]
        return made, "stage after stage, as configured (train.stages)"
    frozen = FREEZE_EPOCHS if freeze_epochs == "auto" else int(freeze_epochs)
    phases = [Phase("frozen", frozen, HEAD_ONLY, (), FROZEN), Phase("unfrozen", epochs, freeze_to, (), UNFROZEN)]
    return [p for p in phases if p.epochs], "the head first, then all layers at discriminative rates"


def build(
    cfg: Config,
    *,
    pretrained: bool,
    lr: float,
    n_groups: int,
    batches_per_epoch: int,
    unfrozen: float | None = None,
    probe: bool = False,
    find: bool = False,
    familiar: bool = True,
) -> Plan:
    """The plan for a highest learning rate ``lr`` and a model of ``n_groups`` layer groups.

    Args:
        unfrozen: What was found for the unfrozen phase, where ``train.lr_unfrozen`` is ``auto``; None: nothing yet.
        find: Whether its rate is to be found also where ``train.lr_unfrozen`` says nothing.
        familiar: As in ``schedule``.

    Raises:
        ConfigError: for a stage that freezes more groups than there are, or a rate for a phase that there is not.
    """
    phases, reason = schedule(cfg, pretrained, probe, familiar)
    asked, own = _asked_mult(cfg), cfg.train.lr_unfrozen
    mult = asked or (PROBE_LR_MULT if probe else LR_MULT)
    if asked and not any(phase.name == "unfrozen" for phase in phases):
        reason += f"; train.lr_mult ({asked:g}) is for an unfrozen phase, and has no effect"
    if own is not None and [phase.name for phase in phases][1:] != ["unfrozen"]:
        raise ConfigError(
            f"train.lr_unfrozen: {own} is for the unfrozen phase after another one; here is only "
            f"{', '.join(phase.name for phase in phases)} ({reason})",
            "leave it out; train.lr is the rate",
        )
    usual = lr if probe else lr / 2
    second = unfrozen if own == "auto" or (find and own is None) else usual if own is None else own
    if isinstance(own, float):
        reason += f"; once unfrozen at up to {own:g}, as given (train.lr_unfrozen)"
    for phase in phases:
        if not -n_groups <= phase.freeze_to < n_groups:
            key = "train.freeze_to" if phase.name == "unfrozen" else "train.stages"
            raise ConfigError(
                f"{key}: freeze_to {phase.freeze_to} of {phase.name}, but the model has {n_groups} layer groups",
                f"use {-n_groups} to {n_groups - 1}: 0 trains all of them, -1 the head alone",
            )
    return Plan(tuple(replace(p, lrs=_lrs(p, lr, second, mult, n_groups)) for p in phases), batches_per_epoch, reason)


def _asked_mult(cfg: Config) -> float | None:
    """How many times the rate of the first layers that of the last ones is to be once unfrozen, if it is given."""
    mult = cfg.train.lr_mult
    return None if mult == "auto" else mult


def extended(
    cfg: Config, phases: tuple[Phase, ...], epochs: int, lr: float, familiar: bool = True
) -> tuple[Phase, ...]:
    """The phases and one more: again a cycle with the layers, rates and (last) size of the last one.

    A probe has neither: after it comes what the recipe has there, the body too, at up to ``lr``.
    """
    n, last = 1 + sum(phase.name.startswith("extend") for phase in phases), phases[-1]
    if last.curve.shape == "closed_form":
        lowest = lr / (_asked_mult(cfg) or PROBE_LR_MULT)
        last = replace(last, freeze_to=_unfreezes_to(cfg, True, familiar), lrs=spread(lowest, lr, len(last.lrs)))
    return (*phases, replace(last, name=f"extend{n}", epochs=epochs, curve=UNFROZEN, sizes=last.sizes[-1:] * epochs))


def halved(phases: tuple[Phase, ...], first: int) -> tuple[Phase, ...]:
    """The phases, those from number ``first`` on at half their learning rates."""
    slower = [replace(phase, lrs=tuple(lr / 2 for lr in phase.lrs)) for phase in phases[first:]]
    return (*phases[:first], *slower)


def _lrs(phase: Phase, lr: float, second: float | None, mult: float, n: int) -> tuple[float, ...]:
    """The rate of every layer group in a phase; ``second`` is the highest once unfrozen, None if yet to be found."""
    if phase.lrs:
        return spread(phase.lrs[0], phase.lrs[-1], n)
    if phase.name == "frozen":
        return frozen_lrs(lr, n)
    if phase.name == "probe":
        return (0.0,) * n
    if phase.name == "unfrozen":
        return spread(second / mult, second, n) if second else ()
    return (lr,) * n


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
    if phase.curve.shape == "closed_form":
        return "none: computed"
    return " … ".join(f"{lr:.2g}" for lr in _unique(phase.lrs)) or "to be found"


def _unique(lrs: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(lrs))
