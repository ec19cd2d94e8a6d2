"""The keys under ``model``."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgclf.foreign import FORM
from imgclf.schema.section import Bool, Count, Section

HEAD = ("concat_pool", "pool", "lin_ftrs", "ps", "first_bn", "bn_final", "lin_first", "y_range")  # fastai's own head


Means = Annotated[tuple[Annotated[float, Field(strict=True, ge=0, le=1)], ...], Field(min_length=1, max_length=3)]
Deviations = Annotated[tuple[Annotated[float, Field(strict=True, gt=0, le=1)], ...], Field(min_length=1, max_length=3)]


class ModelConfig(Section):
    """The network: parameters of fastai's ``vision_learner`` by their own names."""

    arch: str = Field(
        "resnet34",
        description="resnet18 | resnet34 | resnet50 | resnet101 | resnet152, or a name of timm (extra); `imgclf archs`",
    )
    pretrained: Bool | Literal["auto"] = Field(
        True,
        description="start from ImageNet weights; auto: use them if they can be had, and say loudly when not",
    )
    weights: str | None = Field(None, description="a local .pth or .safetensors file with weights for the body")
    normalize: Bool = Field(True, description="normalise with the mean and deviation of ImageNet")
    mean: Means | None = Field(
        None,
        description="with `std`: the mean of the images that the weights were trained on, on the scale 0 to 1, one "
        "number for all channels or one for each, such as [0.5]; null: ImageNet's, or what timm names for the model",
    )
    std: Deviations | None = Field(None, description="with `mean`: the deviation likewise")
    cut: Annotated[int, Field(strict=True, ge=-9, le=9)] | None = Field(
        None,
        description="where the body ends, as the end of a slice of the network's ten parts: conv1, bn1, relu, maxpool, "
        "layer1 to layer4, avgpool, fc. null: -2, all but the last two; -3 leaves out layer4 as well",
    )
    custom_head: str | None = Field(
        None,
        description="a head of your own: the import path package.module:function of what makes it, called with the "
        "number of features and of classes; runs only with --trust. The other head keys have no effect then",
    )
    concat_pool: Bool | Literal["auto"] = Field(
        "auto",
        description="head: average and maximum pooling side by side (else average only); auto: as fastai, true, unless "
        "the recipe (train.recipe: auto) makes the head, of one linear layer: at the probe, and from random weights",
    )
    pool: Bool = Field(
        True, description="head: pool the body's last feature map; false: only for a body that pools itself"
    )
    lin_ftrs: tuple[Count, ...] | Literal["auto"] | None = Field(
        "auto",
        description="head: sizes of the hidden layers; null: one of 512; []: none; auto: as fastai, null, unless the "
        "recipe makes the head, which has none",
    )
    ps: Annotated[float, Field(strict=True, ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="head: dropout before the last layer; half of it before the others; auto: as fastai, 0.5, but 0 "
        "where the recipe makes the head",
    )
    first_bn: Bool | Literal["auto"] = Field(
        "auto",
        description="head: BatchNorm on the pooled features; auto: as fastai, true, but where the recipe makes the "
        "head a LayerNorm without parameters, which brings each image's features to mean 0 and variance 1",
    )
    bn_final: Bool = Field(False, description="head: BatchNorm on the activations at the very end")
    lin_first: Bool = Field(False, description="head: linear before BatchNorm and dropout in each block")
    init: Literal["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"] | None = Field(
        "kaiming_normal", description="how the head's linear layers start; null: PyTorch's own"
    )
    y_range: tuple[Annotated[float, Field(strict=True)], Annotated[float, Field(strict=True)]] | None = Field(
        None,
        description="head: squeeze each logit by a sigmoid into [low, high], such as [-8, 8]: no class can get nearer "
        "to certainty than that allows; null: no limit",
    )

    @model_validator(mode="after")
    def _makes_a_network(self) -> "ModelConfig":
        if (self.mean is None) != (self.std is None) or (self.mean is not None and not self.normalize):
            raise ValueError("model.mean and model.std go together, and with model.normalize: true")
        if self.cut == 0:
            raise ValueError("model.cut is 0: no body would be left; -2 is the usual place")
        if self.custom_head is not None and not re.fullmatch(FORM, self.custom_head):
            raise ValueError(
                f"model.custom_head: '{self.custom_head}' is no import path such as package.module:function"
            )
        unused = [f"model.{k}" for k in HEAD if getattr(self, k) != type(self).model_fields[k].default]
        if self.custom_head is not None and unused:
            raise ValueError(f"{', '.join(unused)}: without effect beside model.custom_head; leave it out")
        if self.y_range is not None and self.y_range[0] >= self.y_range[1]:
            raise ValueError(f"model.y_range: {list(self.y_range)} must be [low, high] with low below high")
        return self
