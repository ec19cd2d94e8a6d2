"""Compute a batch in parts where memory is short: the gradient of the whole, the memory of a part."""

import gc
from collections.abc import Callable
from types import MethodType

import torch
from fastai.vision.all import Callback, CancelBackwardException, CancelStepException, Learner, num_distrib
from torch import Tensor, nn

from imgclf.errors import ConfigError, RunError
from imgclf.training import faults

SMALLEST = 2  # images in a part while training: BatchNorm has no statistics of one


class MicroBatches(Callback):
    """Take the place of fastai's ``_do_one_batch``: forward and backward part by part, then one step.

    The gradients of the parts add up to that of the whole batch's loss, class weights and MixUp included, but for
    BatchNorm, whose statistics are those of each part, and dropout, which is drawn for each part. When a part does not
    fit, the batch is begun again with parts of half the size, and so are all batches after it.

    fastai's ``GradientAccumulation`` adds up whole batches of the loader instead. Gradients then lie over from one
    batch, and even epoch, to the next, where no checkpoint keeps them.

    Args:
        batch_size: Of the training loader.
        parts: How many parts a training batch has from the start (``train.accumulate``).
    """

    def __init__(self, batch_size: int, parts: int = 1) -> None:
        if parts > 1 and batch_size < SMALLEST * parts:
            raise ConfigError(
                f"train.accumulate: {parts} parts of {batch_size} images, but BatchNorm needs {SMALLEST} in each",
                f"use at most {max(1, batch_size // SMALLEST)}, or a larger data.batch_size",
            )
        largest = None if parts == 1 else -(-batch_size // parts)
        # The most images at a time, None: all of a batch. A run's checkpoint keeps them.
        self.limits: dict[str, int | None] = {"train": largest, "valid": largest}
        self.part = 0, 0  # where in the batch the images that are being computed begin and end
        self.warn: Callable[[str], object] = lambda text: None
        self.changed: Callable[[], object] = lambda: None

    def install(self, learn: Learner) -> None:
        """Let ``learn`` compute its batches so."""
        learn.add_cb(self)
        learn._do_one_batch = MethodType(_one_batch, learn)

    def bounds(self, n: int) -> list[tuple[int, int]]:
        """Where the parts of a batch of ``n`` images begin and end."""
        limit = self.limits["train" if self.training else "valid"]
        count = 1 if limit is None else -(-n // limit)
        if self.training:
            count = max(1, min(count, n // SMALLEST))
        return [(i * n // count, (i + 1) * n // count) for i in range(count)]

    def halve(self, n: int) -> None:
        """Make the parts of a batch of ``n`` images half as large.

        Raises:
            RunError: if they are as small as can be.
        """
        before = _largest(self.bounds(n))
        for kind in ("train", "valid") if self.training else ("valid",):
            self.limits[kind] = -(-before // 2)
        parts = self.bounds(n)
        if _largest(parts) == before:
            doing = "train on" if self.training else "validate"
            raise RunError(
                f"out of memory: the device cannot even {doing} {before} image{'s' * (before > 1)} at a time",
                faults.LESS_MEMORY,
            )
        self.warn(
            f"out of memory with {before} images at a time; from here on {_largest(parts)}, in {len(parts)} parts to a "
            f"batch of {n}: batch size and learning rate stay"
        )
        self.changed()

    @property
    def size(self) -> int | None:
        """The most images a training batch computes at a time; None: all of it."""
        return self.limits["train"]


def _one_batch(learn: Learner) -> None:
    """fastai's ``Learner._do_one_batch``, in parts. ``after_loss`` comes once, after the gradients of all parts."""
    before = _before(learn)
    while not _fits(learn):
        _again(learn, before)
        learn.micro_batches.halve(len(learn.xb[0]))
    if learn.training:
        learn._with_events(learn._step, "step", CancelStepException)
        learn.opt.zero_grad()


def _fits(learn: Learner) -> bool:
    """Compute predictions, loss and, while training, gradients of the present batch; False: out of memory."""
    try:
        _compute(learn, learn.micro_batches.bounds(len(learn.xb[0])))
        return True
    except (RuntimeError, MemoryError) as e:
        if not faults.is_out_of_memory(e) or num_distrib() > 1:  # the other processes would wait for this one
            raise
    return False  # outside of the except block: what the exception holds, and with it the memory, is free again


def _compute(learn: Learner, parts: list[tuple[int, int]]) -> None:
    preds = []
    for start, end in parts:
        learn.micro_batches.part = start, end
        learn.pred = learn.model(*[x[start:end] for x in learn.xb])
        learn("after_pred")
        preds.append(learn.pred.detach() if len(parts) > 1 else learn.pred)
        if learn.training or len(parts) == 1:
            _set_loss(learn, _among_all(learn.pred, start, len(learn.xb[0])))
        if learn.training:
            with torch.autocast(learn.pred.device.type, enabled=False):  # as after fastai's after_loss
                learn._with_events(learn._backward, "backward", CancelBackwardException)
    if len(parts) > 1:
        learn.pred = torch.cat(preds)
        _set_loss(learn, learn.pred)
    learn("after_loss")


def _set_loss(learn: Learner, pred: Tensor) -> None:
    """fastai's losses give a tensor of its own kind, whose every operation goes through Python: here a plain one."""
    learn.loss_grad = learn.loss_func(pred, *learn.yb).as_subclass(Tensor)
    learn.loss = learn.loss_grad.clone()


def _among_all(part: Tensor, start: int, n: int) -> Tensor:
    """A part's predictions at their place among zeros for the rest of the batch.

    The loss of the whole batch is a sum over images, divided by something the predictions have no part in. So its
    gradient by a part does not depend on the other predictions, and no loss has to know about parts.
    """
    if len(part) == n:
        return part
    rest = part.shape[1:]
    return torch.cat([part.new_zeros((start, *rest)), part, part.new_zeros((n - start - len(part), *rest))])


def _before(learn: Learner) -> tuple[list[Tensor], list[Tensor]]:
    """What a batch changes before its step: BatchNorm's statistics and the random states."""
    if not learn.training:
        return [], []
    device = next(learn.model.parameters()).device
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return [b.clone() for b in _statistics(learn.model)], states


def _statistics(model: nn.Module) -> list[Tensor]:
    """The buffers that a forward pass in training changes: not those of a BatchNorm that keeps its statistics."""
    return [b for module in model.modules() if module.training for b in module.buffers(recurse=False)]


def _again(learn: Learner, before: tuple[list[Tensor], list[Tensor]]) -> None:
    """Free the memory of an attempt and put everything back to where the batch began."""
    learn.pred = learn.loss_grad = learn.loss = None
    buffers, states = before
    if learn.training:
        for buffer, value in zip(_statistics(learn.model), buffers, strict=True):
            buffer.copy_(value)
        learn.model.zero_grad(set_to_none=True)
        torch.set_rng_state(states[0])
    gc.collect()
    if torch.cuda.is_available():
        for state in states[1:]:
            torch.cuda.set_rng_state(state, next(learn.model.parameters()).device)
        torch.cuda.empty_cache()


def _largest(parts: list[tuple[int, int]]) -> int:
    return max(end - start for start, end in parts)
