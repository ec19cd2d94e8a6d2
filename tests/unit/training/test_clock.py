"""Clocks: whose time is whose, and a loader that gives as many batches as are asked for."""

import time
from types import SimpleNamespace

import torch

from imgclf.data import loaders
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset
from imgclf.training import clock
from imgclf.training.clock import Clock


def test_time_is_booked_on_the_part_that_ended_and_the_first_steps_on_none(monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    waits = []
    found = Clock(skip=1, wait=lambda: waits.append(1))
    found.learn = SimpleNamespace(yb=[torch.zeros(4)])
    found.before_train()
    for i in range(3):
        found.learn.iter = i
        for event in ("before_batch", "before_backward", "after_backward", "after_step", "after_batch"):
            getattr(found, event)()
    assert dict(found.spent) == {"waiting": 2, "forward": 2, "backward": 2, "optimizer": 2, "rest": 2}
    assert (found.seconds, found.images, len(waits)) == (10, 8, 15)


def test_a_loader_repeats_its_images_and_is_as_before_afterwards(tmp_path, pictures, make_config):
    root = pictures.files(tmp_path, *(f"{i}.png" for i in range(8)))
    parts = {part: tuple(Sample(f"{i}.png", ("ab"[i % 2],), part) for i in range(8)) for part in ("train", "valid")}
    settings = {"augment.size": 8, "augment.presize": 12, "data.batch_size": 3, "data.workers": 0}
    cfg = make_config(root, **settings)
    loader = loaders.build(cfg, Dataset(root, ("a", "b"), **parts), torch.device("cpu")).dls.train
    loader.place(1)
    with clock.repeating(loader, 7):
        assert [len(x) for x, _ in loader] == [3] * 7
        drawn = loader.get_idxs()
        assert sorted(i % 8 for i in drawn[:8]) == list(range(8))
        assert len(set(drawn)) == 21  # each time with draws of its own
    assert len(list(loader)) == 2
    assert clock.loading(loader, 2, 1) > 0
