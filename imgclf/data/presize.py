"""Presizing: resize each item to something large, then augment and crop to the final size in one interpolation.

The book (chapter 5) describes presizing as "all of the augmentation at once": composing the random crop with flip,
rotation, zoom and warp into one coordinate map, so that each pixel is interpolated once and only as many pixels are
computed as the model sees. fastai's ``aug_transforms(size=…)`` interpolates twice: once at the presized resolution,
once more in ``RandomResizedCropGPU``. ``engine: fused`` does what the book says, with fastai's own random
distributions; ``engine: fastai`` keeps the reference.
"""

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fastai.vision.all import (
    AffineCoordTfm,
    Brightness,
    Contrast,
    PILImage,
    PILImageBW,
    RandomErasing,
    RandTransform,
    TensorImage,
    Transform,
    aug_transforms,
    dihedral_mat,
    flip_mat,
    rotate_mat,
    setup_aug_tfms,
    zoom_mat,
)
from fastai.vision.augment import _WarpCoord
from PIL import Image

from imgclf.data.images import Preprocess, decode, resize
from imgclf.schema import Config


class OpenImage(RandTransform):
    """A path to an upright RGB ``PILImage``, decoded no larger than what follows needs."""

    split_idx, order = None, 0

    def __init__(self, presize: int, preprocess: Preprocess) -> None:
        super().__init__()
        self.presize, self.preprocess = presize, preprocess

    def before_call(self, b: Any, split_idx: int | None) -> None:
        self.do, self.at_least = True, self.preprocess.decode_pixels if split_idx else self.presize

    def encodes(self, path: Path) -> PILImage:
        return PILImage(decode(path, self.at_least))


class Presize(RandTransform):
    """The item step: training images to ``presize`` from a random place, others as the model will see them for ever."""

    split_idx, order = None, 1

    def __init__(self, presize: int, preprocess: Preprocess) -> None:
        super().__init__()
        self.presize, self.preprocess = presize, preprocess

    def before_call(self, b: Any, split_idx: int | None) -> None:
        self.do, self.training = True, not split_idx
        self.at = (random.random(), random.random()) if self.training else (0.5, 0.5)

    def encodes(self, x: Image.Image) -> PILImage:
        p = self.preprocess
        square = resize(x, self.presize, p.resize, self.at) if self.training else p.fit(x)
        return PILImageBW(square.convert("L")) if p.channels == 1 else PILImage(square)


class TrainOnly(RandTransform):
    """Keep fastai's augmentations away from validation images, which are at the final size already.

    fastai's affine transforms overwrite their own ``split_idx`` on each call, so setting it on them has no effect; and
    a ``DataBlock`` keeps only the last of several transforms of one class, so this one holds them all.
    """

    split_idx, order = None, 30

    def __init__(self, tfms: Sequence[Transform]) -> None:
        super().__init__()
        self.tfms = sorted(tfms, key=lambda t: t.order)

    @property
    def name(self) -> str:
        return " + ".join(type(t).__name__ for t in self.tfms)

    def before_call(self, b: Any, split_idx: int | None) -> None:
        self.do = split_idx != 1

    def resize(self, size: int) -> None:
        """From now on bring images to ``size`` pixels, where that is done here."""
        for tfm in self.tfms:
            if getattr(tfm, "size", None) is not None:
                tfm.size = (size, size)

    def encodes(self, x: TensorImage) -> TensorImage:
        for tfm in self.tfms:
            x = tfm(x, split_idx=0)
        return x


class FusedAugment(RandTransform):
    """Random crop, flip, rotation, zoom and warp of a batch in one ``grid_sample`` at the final size.

    Input (N, C, presize, presize) in 0 to 1, output (N, C, size, size). The coordinate map of image n is
    ``warp_n(affine_n @ crop_n)``: the same composition as fastai's two steps, with a crop drawn per image instead of
    per batch.
    """

    split_idx, order = None, 20  # before TrainOnly's lighting

    def __init__(
        self,
        size: int,
        min_scale: float,
        do_flip: bool,
        flip_vert: bool,
        max_rotate: float,
        max_zoom: float,
        max_warp: float,
        p_affine: float,
        min_zoom: float = 1.0,
        pad_mode: str = "reflection",
    ) -> None:
        super().__init__()
        self.size, self.min_scale, self.pad_mode = size, min_scale, pad_mode
        draws = {
            partial(dihedral_mat if flip_vert else flip_mat, p=0.5): do_flip,
            partial(rotate_mat, max_deg=max_rotate, p=p_affine): max_rotate > 0,
            partial(zoom_mat, min_zoom=min_zoom, max_zoom=max_zoom, p=p_affine): min_zoom < 1 or max_zoom > 1,
        }
        self.affine = [draw for draw, used in draws.items() if used]  # fastai's order
        self.warp = _WarpCoord(magnitude=max_warp, p=p_affine) if max_warp else None

    def before_call(self, b: Any, split_idx: int | None) -> None:
        self.do = split_idx != 1

    def resize(self, size: int) -> None:
        """From now on bring images to ``size`` pixels."""
        self.size = size

    def encodes(self, x: TensorImage) -> TensorImage:
        pixels = x.as_subclass(torch.Tensor)
        matrix = torch.eye(3, device=pixels.device).expand(len(pixels), 3, 3)
        for draw in self.affine:
            matrix = matrix @ draw(pixels)
        if self.min_scale < 1:
            matrix = matrix @ random_crop(pixels, self.min_scale)
        shape = [len(pixels), pixels.shape[1], self.size, self.size]
        grid = F.affine_grid(matrix[:, :2].contiguous(), shape, align_corners=True)
        if self.warp is not None:
            self.warp.before_call(pixels)
            grid = self.warp(grid)
        # Bilinear sampling looks at four pixels: shrinking by more than two would skip pixels, so average first, as
        # fastai does. Not where the smallest crop would be enlarged by it.
        shrink = min(pixels.shape[-2:]) / self.size / 2
        if shrink * self.min_scale**0.5 > 1:
            pixels = F.interpolate(pixels, scale_factor=1 / shrink, mode="area", recompute_scale_factor=True)
        sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode=self.pad_mode, align_corners=True)
        return TensorImage(sampled)


def random_crop(x: torch.Tensor, min_scale: float) -> torch.Tensor:
    """(N, 3, 3) maps of the output square onto a random square of ``min_scale`` to 1 of the image's area."""
    n, device = len(x), x.device
    side = torch.empty(n, device=device).uniform_(min_scale, 1).sqrt()
    shift = (1 - side)[:, None] * torch.empty(n, 2, device=device).uniform_(-1, 1)
    matrix = torch.eye(3, device=device).repeat(n, 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = side
    matrix[:, :2, 2] = shift
    return matrix


def batch_transforms(cfg: Config, size: int) -> list[Transform]:
    """The augmentations of a batch on its device, from ``presize`` to ``size``; validation batches pass unchanged."""
    geometry: dict[str, Any] = {
        "min_scale": cfg.augment.min_scale,
        "do_flip": cfg.augment.flip,
        "flip_vert": cfg.augment.flip_vert,
        "max_rotate": cfg.augment.max_rotate,
        "min_zoom": cfg.augment.min_zoom,
        "max_zoom": cfg.augment.max_zoom,
        "max_warp": cfg.augment.max_warp,
        "p_affine": cfg.augment.p_affine,
        "pad_mode": cfg.augment.pad_mode,
    }
    lighting, p = cfg.augment.max_lighting, cfg.augment.p_lighting
    p_erase = cfg.augment.erase
    erase = [RandomErasing(p=p_erase, max_count=cfg.augment.erase_count)] if p_erase else []  # after Normalize
    if cfg.augment.engine == "fastai":
        # Without a crop, and without anything else that moves pixels, fastai would leave the images at their size.
        still = [AffineCoordTfm(size=size, align_corners=True)] if geometry["min_scale"] == 1 else None
        theirs = aug_transforms(size=size, max_lighting=lighting, p_lighting=p, xtra_tfms=still, **geometry)
        return [TrainOnly(tfms=theirs), *erase]
    fused = FusedAugment(size=size, **geometry)
    light = setup_aug_tfms([Brightness(lighting, p=p), Contrast(lighting, p=p)]) if lighting else []
    return [fused, *([TrainOnly(tfms=light)] if light else []), *erase]
