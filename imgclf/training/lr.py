"""The learning-rate finder (Smith 2015; the book, chapter 5): a mock training with a growing rate, then undone."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from fastai.callback.schedule import ParamScheduler, SchedExp, minimum, slide, steep, valley
from fastai.vision.all import CancelFitException, CancelValidException, Learner

from imgclf.data.placed import same_randomness_after

Range = tuple[float, float]
RANGE: Range = (1e-7, 10.0)  # fastai's
STEPS = 50  # fastai takes 100: as many again made the suggestion no steadier (docs/training.md)
FALLBACK_LR = 2e-3  # fine_tune's own default
SANE = (1e-5, 0.3)
SANE_UNFROZEN = (1e-6, 0.1)  # a body that has learned needs less
MIN_POINTS = 10


@dataclass(frozen=True)
class Found:
    """What the finder saw and suggests.

    ``lrs`` and ``losses`` (smoothed) have one entry a step; a suggestion that could not be made is None.
    """

    lrs: list[float]
    losses: list[float]
    suggestions: dict[str, float | None]
    chosen: float
    reason: str
    notes: list[str] = field(default_factory=list)


class Sweep(ParamScheduler):
    """Raise the learning rate exponentially over ``n_steps`` batches; stop when the loss explodes."""

    def __init__(self, n_steps: int, lr_range: Range, done: Callable[[], object]) -> None:
        super().__init__({"lr": SchedExp(*lr_range)})
        self.n_steps, self.done = n_steps, done
        self.lrs: list[float] = []
        self.losses: list[float] = []

    def before_fit(self) -> None:
        super().before_fit()
        self.best = math.inf

    def before_batch(self) -> None:
        if self.training:
            self._update_val(self.train_iter / self.n_steps)

    def after_batch(self) -> None:
        super().after_batch()
        loss = float(self.smooth_loss)
        self.lrs.append(float(self.opt.hypers[-1]["lr"]))
        self.losses.append(loss)
        self.best = min(self.best, loss)
        enough = self.done()
        if enough or not math.isfinite(loss) or loss > 4 * self.best or self.train_iter >= self.n_steps:
            raise CancelFitException()

    def before_validate(self) -> None:
        raise CancelValidException()


def find(
    learn: Learner,
    callbacks: list[Any],
    n_steps: int = STEPS,
    lr_range: Range = RANGE,
    done: Callable[[], object] = lambda: None,
    fallback: float = FALLBACK_LR,
    sane: Range = SANE,
) -> Found:
    """Sweep the learning rate and suggest one; the learner is afterwards bit for bit as before.

    Args:
        done: Called after each step; true: end the sweep there.
        fallback: The rate to take if the suggestion is outside ``sane`` or there is none.
    """
    sweep = Sweep(n_steps, lr_range, done)
    with unchanged(learn):
        learn.fit(n_steps // max(1, len(learn.dls.train)) + 1, cbs=[sweep, *callbacks])
    return suggest(sweep.lrs, sweep.losses, fallback, sane)


def suggest(lrs: list[float], losses: list[float], fallback: float = FALLBACK_LR, sane: Range = SANE) -> Found:
    """fastai's four suggestions, as far as the sweep allows, and the one to use: ``valley``.

    Like fastai, leave out the first tenth (the smoothing is still settling) and the last five points (the explosion);
    unlike it, survive a sweep too short for that.
    """
    good = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    skip, keep = (good // 10, good - 5) if good >= MIN_POINTS + 5 else (0, good)
    x, y = torch.tensor(lrs[skip:keep]), torch.tensor(losses[skip:keep])
    values = {f.__name__: _try(f, x, y) for f in (valley, slide, minimum, steep)}
    notes = [f"no '{name}' suggestion: the sweep is too short" for name, value in values.items() if value is None]
    chosen = values["valley"]
    if chosen is not None and len(x) >= MIN_POINTS and sane[0] <= chosen <= sane[1]:
        return Found(lrs, losses, values, _round(chosen), "valley of the learning-rate finder", notes)
    seen = f"valley {chosen:.2g}" if chosen is not None else "no valley"
    reason = f"fallback: the finder gave {seen} from {len(x)} usable steps, outside what can be trusted"
    return Found(lrs, losses, values, fallback, reason, notes)


def _try(function: Callable[..., Any], lrs: torch.Tensor, losses: torch.Tensor) -> float | None:
    try:
        value = float(function(lrs, losses, len(lrs))[0])
    except (IndexError, ValueError, RuntimeError):  # what fastai's functions raise on too few points
        return None
    return value if math.isfinite(value) and value > 0 else None


def _round(lr: float) -> float:
    """Three significant digits: more would be noise, and a rate one can retype is a rate one can repeat."""
    return float(f"{lr:.3g}")


@contextmanager
def unchanged(learn: Learner) -> Iterator[None]:
    """Whatever happens inside, restore weights, BatchNorm statistics, optimizer, gradients and random states after."""
    weights = copy.deepcopy(learn.model.state_dict())
    modes = {name: module.training for name, module in learn.model.named_modules()}
    optimizer = copy.deepcopy(learn.opt.state_dict()) if learn.opt is not None else None
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    loaders = [(dl, dl.rng.getstate()) for dl in learn.dls.loaders]
    try:
        with same_randomness_after():
            yield
    finally:
        learn.model.load_state_dict(weights)
        for name, module in learn.model.named_modules():
            module.training = modes[name]
        learn.model.zero_grad(set_to_none=True)
        if optimizer is None:
            learn.opt = None
        else:
            learn.opt.load_state_dict(optimizer)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
        for dl, state in loaders:
            dl.rng.setstate(state)
