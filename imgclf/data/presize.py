"""Presizing: all of the augmentation at once, or fastai's two stages.

The book (chapter 5) describes presizing as composing the random crop with flip, rotation, zoom and warp, so that each
pixel is interpolated once and only as many pixels are computed as the model sees. fastai interpolates three times: in
``Resize``, at the presized resolution, and in ``RandomResizedCropGPU``. ``engine: fused`` does what the book says, with
fastai's random distributions, in the processes that decode or on a GPU; ``engine: fastai`` keeps the reference.
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastai.vision.all import (
    AffineCoordTfm,
    PILImage,
    PILImageBW,
    RandomErasing,
    RandTransform,
    TensorImage,
    Transform,
    aug_transforms,
)
from PIL import Image

from imgclf.data import unsampled
from imgclf.data.forms import Detail, Fitted
from imgclf.data.geometry import Geometry, Lighting
from imgclf.data.image_cache import ImageCache
from imgclf.data.images import Preprocess, resize, square_of
from imgclf.data.sampling import PIXELS_IN_ONE, part_of, sample
from imgclf.data.steps import Direct
from imgclf.data.suited import Suited
from imgclf.data.unsampled import LookUp
from imgclf.errors import first_line
from imgclf.schema import Config

LOST = "cannot read the image"
P_AFFINE = 0.75  # fastai's


class ImageLost(Exception):
    """A file the check before the training could read, and that cannot be read now.

    Out of a worker process it comes with a message around its own, and without the error it was raised from.
    """


class OpenImage(Direct, Transform):
    """A path to an upright RGB ``PILImage``, decoded no finer than what follows needs; from the cache, if it is there.

    With a cache a validation image comes at its final size, which the step that follows leaves as it is.
    """

    split_idx, order = None, 0

    def __init__(self, step: "Presize | Fused", preprocess: Preprocess) -> None:
        super().__init__()
        self.step, self.preprocess = step, preprocess
        self.cache: ImageCache | None = None

    @property
    def forms(self) -> tuple[Detail, Fitted]:
        """What is made of a training image, and of any other."""
        record = self.preprocess
        whole = math.ceil(self.step.detail / record.crop_pct)
        return Detail(whole, isinstance(self.step, Fused), record.grey_range), Fitted.of(record)

    def begin(self, split_idx: int | None) -> None:
        self.form = self.forms[1 if split_idx else 0]

    def make(self, path: Path) -> PILImage:
        try:
            return PILImage(self._read(path))
        except (OSError, ValueError, SyntaxError) as e:
            raise ImageLost(f"{LOST} {path}: {first_line(e)}") from e

    def _read(self, path: Path) -> Image.Image:
        if self.cache is not None:
            return self.cache.image(path, self.form)
        whole = isinstance(self.form, Fitted)
        return self.preprocess.open(path, self.preprocess.decode_pixels) if whole else self.form.make(path)


class Presize(Direct, Transform):
    """The item step: training images to ``presize`` from a random place, others as the model will see them for ever."""

    split_idx, order = None, 1

    def __init__(self, presize: int, preprocess: Preprocess) -> None:
        super().__init__()
        self.presize, self.preprocess = presize, preprocess

    @property
    def detail(self) -> int:
        """The side of the square that training images are decoded for, at least; pixels."""
        return self.presize

    def begin(self, split_idx: int | None) -> None:
        self.training = not split_idx
        self.at = (random.random(), random.random()) if self.training else (0.5, 0.5)

    def make(self, x: Image.Image) -> PILImage:
        p = self.preprocess
        whole = resize(x, self.presize, p.resize, self.at, p.crop_pct) if self.training else p.fit(x)
        return _in_channels(whole, p)


class Fused(Direct, Transform):
    """The item step of ``engine: fused``: crop, flip, rotation, zoom, warp and lighting in one sampling of the image.

    Training images become uint8 (C, size, size), looked up straight in the decoded image, which has no more than
    ``detail``; or, for the device to do that, rows of ``Unsampled``. Others as the model will see them for ever.
    """

    split_idx, order = None, 1

    def __init__(
        self,
        presize: int,
        preprocess: Preprocess,
        geometry: Geometry,
        lighting: Lighting | None = None,
        on_device: bool = False,
    ) -> None:
        super().__init__()
        self.presize, self.preprocess, self.size = presize, preprocess, preprocess.size
        self.geometry, self.lighting, self.on_device = geometry, lighting, on_device

    @property
    def detail(self) -> int:
        """The side of the square that training images are decoded for, at least; pixels: ``presize``, or less if that
        is enough for a pixel and a quarter in each pixel of the smallest crop, zoomed in."""
        most = PIXELS_IN_ONE * self.size * self.geometry.max_zoom / math.sqrt(self.geometry.min_scale)
        return min(self.presize, math.ceil(most))

    def begin(self, split_idx: int | None) -> None:
        self.training = not split_idx
        if self.training:
            self.at = (random.random(), random.random())
            self.matrix = self.geometry.draw()
            self.table = self.lighting.draw() if self.lighting else None

    def resize(self, size: int) -> None:
        """From now on bring training images to ``size`` pixels."""
        self.size = size

    def make(self, x: Image.Image) -> Any:
        p = self.preprocess
        if not self.training:
            return _in_channels(p.fit(x), p)
        whole, square = square_of(x, self.presize, p.resize, self.at, p.crop_pct)
        part = part_of(whole, square, self.matrix, self.size, p.channels)
        if self.on_device:
            return unsampled.pack(*part, self.table)
        return TensorImage(sample(part, self.size, self.geometry.pad_mode, self.table))


def _in_channels(square: Image.Image, preprocess: Preprocess) -> PILImage:
    return PILImageBW(square.convert("L")) if preprocess.channels == 1 else PILImage(square)


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


def given_flip(cfg: Config) -> bool | None:
    """Whether images are to be mirrored; None: where that suits them."""
    wanted = cfg.augment.flip
    return None if wanted == "auto" else wanted


def given_p_affine(cfg: Config) -> float | None:
    """How often rotation, zoom and warp are each to be applied; None: as often as that suits the images."""
    wanted = cfg.augment.p_affine
    return None if wanted == "auto" else wanted


def transforms(
    cfg: Config, presize: int, preprocess: Preprocess, on_device: bool = False, suited: Suited = Suited()
) -> tuple[Transform, list[Transform]]:
    """The step of each item that makes it a square, and those of a batch on its device; validation has only the first.

    With ``fused`` all is done to the item, by the processes that decode, or, ``on_device``, all but the decoding to the
    batch; with ``fastai`` the item is presized and the batch augmented.

    Args:
        suited: What is taken where keys are auto.
    """
    flip = given_flip(cfg)
    if flip is None:
        flip = suited.flip is not False
    p_affine = given_p_affine(cfg)
    if p_affine is None:
        p_affine = P_AFFINE if suited.suits_body else 0.0
    geometry: dict[str, Any] = {
        "min_scale": cfg.augment.min_scale,
        "do_flip": flip,
        "flip_vert": cfg.augment.flip_vert,
        "max_rotate": cfg.augment.max_rotate,
        "min_zoom": cfg.augment.min_zoom,
        "max_zoom": cfg.augment.max_zoom,
        "max_warp": cfg.augment.max_warp,
        "p_affine": p_affine,
        "pad_mode": cfg.augment.pad_mode,
    }
    lighting, p = cfg.augment.max_lighting, cfg.augment.p_lighting
    p_erase = cfg.augment.erase
    erase = [RandomErasing(p=p_erase, max_count=cfg.augment.erase_count)] if p_erase else []  # after Normalize
    if cfg.augment.engine == "fused":
        light = Lighting(lighting, p) if lighting else None
        looked_up = [LookUp(preprocess.size, preprocess.channels, geometry["pad_mode"])] if on_device else []
        return Fused(presize, preprocess, Geometry(**geometry), light, on_device), [*looked_up, *erase]
    # Without a crop, and without anything else that moves pixels, fastai would leave the images at their size.
    size = preprocess.size
    still = [AffineCoordTfm(size=size, align_corners=True)] if geometry["min_scale"] == 1 else None
    theirs = aug_transforms(size=size, max_lighting=lighting, p_lighting=p, xtra_tfms=still, **geometry)
    return Presize(presize, preprocess), [TrainOnly(tfms=theirs), *erase]
