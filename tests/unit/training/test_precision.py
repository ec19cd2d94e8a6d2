"""Which passes are computed in bf16."""

import pytest
import torch
from fastai.vision.all import CrossEntropyLossFlat, DataLoader, DataLoaders, Learner, noop
from torch import nn

from imgclf.training.micro import MicroBatches
from imgclf.training.precision import Autocast


class Witness(nn.Linear):
    """Remembers in which precision it was asked to answer, and answers so."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def forward(self, x):
        found = super().forward(x)
        self.seen[self.training].add(found.dtype)
        return found


@pytest.mark.parametrize("limit", [None, 2])
def test_training_and_validation_are_both_in_bf16_and_what_they_give_is_not(limit):
    rows = [(torch.rand(4), torch.tensor(i % 2)) for i in range(8)]
    dls = DataLoaders(DataLoader(rows, bs=4), DataLoader(rows, bs=4))
    metrics_saw = []

    def share(pred, target):
        metrics_saw.append(pred.dtype)
        return (pred.argmax(1) == target).float().mean()

    model = Witness()
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=share, cbs=[Autocast("cpu")])
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    parts = MicroBatches(4)
    parts.limits["valid"] = limit  # as after memory has run out
    parts.install(learn)
    learn.fit(1, 1e-3)
    assert model.seen == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    assert set(metrics_saw) == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")
