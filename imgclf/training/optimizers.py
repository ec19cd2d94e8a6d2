"""The optimizers by the name that ``train.opt`` gives them: fastai's, and its Adam in one pass over the weights."""

from collections.abc import Callable
from typing import Any

import torch
from fastai.vision.all import SGD, Adam, Lamb, Optimizer, RAdam, RMSProp, ranger
from torch.optim.adamw import adamw

from imgclf.schema import Config
from imgclf.training import plan

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": Adam, "sgd": SGD, "rmsprop": RMSProp, "radam": RAdam, "ranger": ranger, "lamb": Lamb,
}  # fmt: skip
MOMENTS = ("grad_avg", "sqr_avg")  # fastai's names in an optimizer's state


class FusedAdam(Optimizer):
    """fastai's ``Adam``, its formula, hyperparameters and defaults, by torch's fused kernel: equal but for rounding.

    fastai passes nine times over weights and moments for a step, a parameter at a time (docs/benchmarks.md).
    """

    def __init__(
        self, params: Any, lr: float, mom: float = 0.9, sqr_mom: float = 0.99, eps: float = 1e-5, wd: float = 0.01
    ) -> None:
        super().__init__(params, [], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def zero_grad(self) -> None:
        for parameter, *_ in self.all_params(with_grad=True):
            parameter.grad = None  # zeros would cost a pass to write, and another to add the next gradient to

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        groups: dict[tuple[float, ...], list[Any]] = {}
        for parameter, _, state, hyper in self.all_params(with_grad=True):
            if "step" not in state:
                state |= {"step": torch.zeros((), device=parameter.device)}
                state |= {name: torch.zeros_like(parameter) for name in MOMENTS}
            # The kernel goes through all of them in the order in which they lie in memory.
            state |= {name: _laid_as(parameter, state[name]) for name in MOMENTS}
            parameter.grad = _laid_as(parameter, parameter.grad)
            decay = hyper["wd"] if state.get("do_wd", True) else 0.0
            alike = hyper["lr"], hyper["mom"], hyper["sqr_mom"], hyper["eps"], decay
            groups.setdefault(alike, []).append((parameter, state))
        for (lr, mom, sqr_mom, eps, decay), members in groups.items():
            parameters, states = zip(*members, strict=True)
            means, squares, steps = ([s[name] for s in states] for name in (*MOMENTS, "step"))
            adamw(
                list(parameters), [p.grad for p in parameters], means, squares, [], steps, fused=True,
                lr=lr, beta1=mom, beta2=sqr_mom, eps=eps, weight_decay=decay, amsgrad=False, maximize=False,
            )  # fmt: skip


def is_adam(made_by: Callable[..., Any]) -> bool:
    """Whether that is an Adam, whose steps are as long as the learning rate says, whatever the gradient."""
    return made_by in (Adam, FusedAdam)


def _laid_as(parameter: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values in the memory format of the parameter; of a checkpoint they come contiguous."""
    return values if values.stride() == parameter.stride() else torch.empty_like(parameter).copy_(values)


def optimizer(cfg: Config, device: torch.device) -> Callable[..., Any]:
    """What makes the optimizer of ``train.opt``: Adam fused, but in the book's recipe on a processor.

    That one is fastai's, loss for loss; on CUDA each of fastai's passes would be a call of its own.
    """
    name = cfg.train.opt
    fused = device.type == "cuda" or (device.type == "cpu" and not plan.is_of_the_book(cfg))
    return FusedAdam if name == "adam" and fused else OPTIMIZERS[name]
