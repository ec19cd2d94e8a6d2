"""After the probe: each training image is answered by a head that does not know it, so that the body has work left.

A linear head fitted in closed form to a few hundred images knows them nearly by heart. What its loss then tells the
body is small, and about how to fit these images more, not about what goes wrong with new ones. The heads of the probe's
cross-validation make, on the images each was fitted without, the mistakes that the whole head makes on new images.
So the body learns from those, and is judged and kept with the whole head, which stays as it is (docs/recipe.md). All
are of the probe's rule: a logistic regression made from it is the better head for the body as it stands, but a body
that changes ends no lower with it, on digits and emoji higher.
"""

from typing import Any

import torch
from fastai.vision.all import Callback, CutMix, Learner, MixUp, get_model
from torch import Tensor, nn
from torch.nn import functional as F

from imgclf.schema import Config
from imgclf.training.features import MOST_KEPT, is_compiled
from imgclf.training.probe import FoldHeads

WHOLE = ("whole_weight", "whole_bias")  # in a checkpoint


class OutOfFold(Callback):
    """While training, the last layer answers with the heads that were fitted without the images; it does not train.

    The heads come from ``FitHead``, or from the checkpoint of a run that has passed it; until then nothing happens.
    """

    order = 9  # before the model is wrapped for several processes: they wait for every gradient there is to be

    def __init__(self) -> None:
        self.heads: FoldHeads | None = None
        self.whole: tuple[Tensor, Tensor] | None = None

    def take(self, heads: FoldHeads, weight: Tensor, bias: Tensor) -> None:
        """The heads of the cross-validation, and weight (C, F) and bias (C,) of that which the body is judged with."""
        self.heads, self.whole = heads, (weight, bias)

    def before_fit(self) -> None:
        if self.heads is None:
            return
        last, (weight, bias, fold) = self.last, (self.heads.weight, self.heads.bias, self.heads.fold)
        self.heads = FoldHeads(weight.to(last.weight.device), bias.to(last.weight.device), fold.cpu())
        if self.whole is not None:  # None: a run of an earlier version goes on, whose layer is the rule's already
            with torch.no_grad():
                last.weight.copy_(self.whole[0])
                last.bias.copy_(self.whole[1])
        last.requires_grad_(False)

    def before_train(self) -> None:
        # Only here and now: whoever copies the model, or judges it, gets the layer as it is.
        self.hook = self.last.register_forward_hook(self._answer) if self.heads else None

    def after_train(self) -> None:
        self._let_go()

    def after_cancel_train(self) -> None:
        self._let_go()

    def after_cancel_fit(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        hook, self.hook = getattr(self, "hook", None), None
        if hook:
            hook.remove()

    @property
    def last(self) -> Any:
        """The layer they answer for, which stays as the probe made it."""
        return get_model(self.learn.model)[1][-1]

    def _answer(self, layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        assert self.heads is not None
        start, end = self.learn.micro_batches.part
        fold = self.heads.fold[self.learn.dl.numbers[start:end]]
        # All heads answer: a GPU would have to be waited for to say which images are whose.
        weight, bias = self.heads.weight, self.heads.bias
        every = F.linear(given[0], weight.flatten(0, 1), bias.flatten()).view(len(answer), *bias.shape)
        own = soon_on(fold, answer.device).view(-1, 1, 1).expand(-1, 1, bias.shape[1])
        return every.gather(1, own)[:, 0].to(answer)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint; empty before the probe."""
        if self.heads is None:
            return {}
        whole = {} if self.whole is None else dict(zip(WHOLE, self.whole, strict=True))
        return {**vars(self.heads), **whole}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up ``state``."""
        heads = {key: value for key, value in state.items() if key not in WHOLE}
        self.heads = FoldHeads(**heads) if heads else None
        self.whole = (state[WHOLE[0]], state[WHOLE[1]]) if WHOLE[0] in state else None


def soon_on(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device, without waiting for what it is doing."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def callbacks(cfg: Config, learn: Learner, probe: bool, body_trains: bool) -> tuple[list[OutOfFold], list[str]]:
    """The callback where training begins at the ``probe`` and it can help, and what to tell of the decision."""
    if not probe:
        return [], []
    if not cfg.train.out_of_fold:
        why = "as given (train.out_of_fold: false)"
    elif any(isinstance(cb, MixUp | CutMix) for cb in learn.cbs):
        why = "a mixed image has parts that every head knows (augment.mixup, augment.cutmix)"
    elif is_compiled(get_model(learn.model)):
        why = "it is compiled as it is (train.compile)"
    elif not body_trains:
        why = "there is nothing else to train (train.freeze_to)"
    elif learn.dls.train.n > MOST_KEPT:
        why = f"more than {MOST_KEPT:,} images are not learned by heart"
    else:
        return [OutOfFold()], [
            "training images are answered by heads of the probe that were fitted without them; the body learns, the "
            "head stays (train.out_of_fold)"
        ]
    return [], [f"training images are answered by the head itself, which trains too: {why}"]
