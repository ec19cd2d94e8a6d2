"""The seed of each batch."""

import random

import numpy as np
import pytest
import torch
from fastai.vision.all import set_seed

from imgclf.data.placed import seed_everything


def drawn():
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_seeding_is_fastais():
    seed = 2**32 + 5  # beyond what NumPy takes
    set_seed(seed)
    expected = drawn()
    seed_everything(seed)
    assert drawn() == expected


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator to seed")
def test_without_an_accelerator_none_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    seed_everything(5)
    assert asked == []
