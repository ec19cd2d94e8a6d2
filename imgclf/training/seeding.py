"""Seed every epoch from (seed, phase, epoch); the loaders go on from there, item by item and batch by batch."""

from fastai.vision.all import Callback, DataLoaders, set_seed

from imgclf.data.loaders import reseed
from imgclf.randomness import derive
from imgclf.schema import Config


def seed(cfg: Config, *place: object, dls: DataLoaders | None = None, first_batch: int = 0) -> None:
    """Seed Python, NumPy, torch and, where given, the loaders for one place of a run.

    Args:
        first_batch: Where the next pass over the training loader begins.
    """
    value = derive(cfg, *place)
    set_seed(value)
    if dls is not None:
        reseed(dls, value, first_batch)


class SeedEpochs(Callback):
    """Seed everything at the start of each epoch; the first one may begin at ``first_batch``."""

    order = -100  # before anything draws a number

    def __init__(self, cfg: Config, phase: str, first_batch: int = 0) -> None:
        self.cfg, self.phase, self.first_batch = cfg, phase, first_batch

    def before_epoch(self) -> None:
        seed(self.cfg, self.phase, self.epoch, dls=self.dls, first_batch=self.first_batch)
        self.first_batch = 0
