"""The keys under ``augment``."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from imgclf.schema.section import Bool, Count, Section, Share


class AugmentConfig(Section):
    """Presizing and augmentation (book, chapter 5: a large item resize, then one batch step to the final size)."""

    presize: Annotated[int, Field(strict=True, ge=4)] = Field(
        460,
        description="side in pixels of the detail training images keep before augmentation; at least `size`. "
        "engine fastai: they are resized to it; fused: decoded to no less",
    )
    size: Annotated[int, Field(strict=True, ge=4)] = Field(
        224, description="side in pixels of what the model sees, in training and afterwards"
    )
    sizes: Annotated[tuple[Annotated[int, Field(strict=True, ge=4)], ...], Field(min_length=2)] | None = Field(
        None,
        description="progressive resizing: sides the epochs are divided over, smallest first, such as [128, 224]; the "
        "last one is `size`, and validation is always there; null: all epochs at `size`",
    )
    resize: Literal["crop", "pad", "squish"] = Field(
        "crop", description="how an image becomes square: centre crop, pad with reflection, or squish"
    )
    crop_pct: Literal["auto"] | Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        "auto",
        description="`crop`: the share of the shorter side that the square shows, in training from anywhere in the "
        "image. auto: where the head begins at the probe, all or less of it as the probe finds better; else 1",
    )
    engine: Literal["fused", "fastai"] = Field(
        "fused",
        description="fused: crop and augmentation in one interpolation, by the processes that decode; "
        "fastai: aug_transforms on the batch, the reference",
    )
    where: Literal["auto", "workers", "device"] = Field(
        "auto",
        description="engine fused: what does all of it but the decoding. workers: the processes that decode; device: "
        "the device that trains; auto: a GPU does, else the workers",
    )
    min_scale: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        0.75, description="smallest random crop, as a share of the presized image's area; 1: no random crop"
    )
    flip: Literal["auto"] | Bool = Field(
        "auto",
        description="mirror half of the training images left to right. auto: but not where the head begins at the "
        "probe and the probe takes mirror images for something else",
    )
    flip_vert: Bool = Field(
        False, description="with `flip`: turn and mirror in all eight ways (aerial, microscope images)"
    )
    max_rotate: Annotated[float, Field(strict=True, ge=0, le=180)] = Field(
        10.0, description="largest rotation, degrees"
    )
    min_zoom: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        1.0, description="largest zoom out, as a share of the size; 1: none"
    )
    max_zoom: Annotated[float, Field(strict=True, ge=1)] = Field(1.1, description="largest zoom in; 1: none")
    max_warp: Share = Field(0.2, description="largest change of perspective")
    max_lighting: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.2, description="largest change of brightness and contrast"
    )
    pad_mode: Literal["reflection", "border", "zeros"] = Field(
        "reflection", description="what fills corners that rotation, zoom or warp leave empty"
    )
    p_affine: Literal["auto"] | Share = Field(
        "auto",
        description="how often rotation, zoom and warp are each applied; auto: 0.75, and 0 where the pretrained body "
        "was made for other images, or hardly knows them (train.freeze_to)",
    )
    p_lighting: Share = Field(0.75, description="how often brightness and contrast are each changed")
    mixup: Annotated[float, Field(strict=True, ge=0)] = Field(
        0.0,
        description="fastai's MixUp: each image blended with another, the loss likewise; alpha, such as 0.4; 0: off",
    )
    cutmix: Annotated[float, Field(strict=True, ge=0)] = Field(
        0.0, description="fastai's CutMix: a rectangle of another image pasted in; alpha, such as 1.0; 0: off"
    )
    erase: Share = Field(0.0, description="fastai's RandomErasing: how often a batch gets rectangles of noise; 0: off")
    erase_count: Count = Field(1, description="erase: the most rectangles; they share the area, up to 30 %")

    @model_validator(mode="before")
    @classmethod
    def _size_is_the_last_of_sizes(cls, values: Any) -> Any:
        sizes = values.get("sizes") if isinstance(values, dict) else None
        if isinstance(sizes, list | tuple) and sizes and "size" not in values:
            return {**values, "size": sizes[-1]}
        return values

    @model_validator(mode="before")
    @classmethod
    def _upside_down_is_mirrored_too(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("flip_vert") is True and values.get("flip", "auto") == "auto":
            return {**values, "flip": True}
        return values

    @model_validator(mode="after")
    def _sizes_grow_to_size(self) -> "AugmentConfig":
        sizes = self.sizes or (self.size,)
        if any(b <= a for a, b in pairwise(sizes)):
            raise ValueError(f"augment.sizes {list(sizes)}: each must be larger than the one before")
        if sizes[-1] != self.size:
            raise ValueError(
                f"augment.sizes ends at {sizes[-1]} while augment.size is {self.size}: training ends at the size the "
                "model is used at; leave augment.size out, or make them equal"
            )
        return self

    @model_validator(mode="after")
    def _only_a_crop_shows_less(self) -> "AugmentConfig":
        if self.resize != "crop" and self.crop_pct not in ("auto", 1):
            raise ValueError(
                f"augment.crop_pct is {self.crop_pct:g} while augment.resize is {self.resize}, which shows all of an "
                "image: leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _one_way_of_mixing(self) -> "AugmentConfig":
        if self.mixup and self.cutmix:
            raise ValueError(
                f"augment.mixup ({self.mixup:g}) and augment.cutmix ({self.cutmix:g}) cannot be used together: "
                "each puts itself in the place of the loss; leave one at 0"
            )
        if self.erase_count > 1 and not self.erase:
            raise ValueError(f"augment.erase_count is {self.erase_count} while augment.erase is 0: nothing is erased")
        return self

    @model_validator(mode="after")
    def _presize_covers_size(self) -> "AugmentConfig":
        if self.presize < self.size:
            raise ValueError(
                f"augment.presize ({self.presize}) is smaller than augment.size ({self.size}): presizing resizes to "
                "something larger first, so that augmentation leaves no empty corners"
            )
        return self

    @model_validator(mode="after")
    def _flips_agree(self) -> "AugmentConfig":
        if self.flip_vert and not self.flip:
            raise ValueError("augment.flip_vert is true while augment.flip is false: nothing would be flipped")
        return self
