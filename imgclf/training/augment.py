"""fastai's callbacks that make training harder on purpose, or tamer: MixUp, CutMix, gradient clipping."""

from fastai.vision.all import Callback, CutMix, GradientClip, MixUp

from imgclf.schema import Config


def callbacks(cfg: Config) -> list[Callback]:
    """Those the configuration asks for; they act on training batches alone, in the learning-rate finder too."""
    asked = [
        (MixUp, cfg.augment.mixup),
        (CutMix, cfg.augment.cutmix),
        (GradientClip, cfg.train.clip),
    ]
    return [make(strength) for make, strength in asked if strength]
