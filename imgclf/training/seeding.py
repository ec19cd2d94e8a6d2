"""Seed every epoch from (seed, phase, epoch)."""

from fastai.vision.all import Callback, DataLoaders, set_seed

from imgclf.data.loaders import reseed
from imgclf.randomness import derive
from imgclf.schema import Config


def seed(cfg: Config, *place: object, dls: DataLoaders | None = None) -> None:
    """Seed Python, NumPy, torch and, where given, the loaders (and so their workers) for one place of a run."""
    value = derive(cfg, *place)
    set_seed(value)
    if dls is not None:
        reseed(dls, value)


class SeedEpochs(Callback):
    """Seed everything at the start of each epoch."""

    order = -100  # before anything draws a number

    def __init__(self, cfg: Config, phase: str) -> None:
        self.cfg, self.phase = cfg, phase

    def before_epoch(self) -> None:
        seed(self.cfg, self.phase, self.epoch, dls=self.dls)
