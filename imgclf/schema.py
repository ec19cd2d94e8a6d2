"""The configuration: every key, its type, its default and what it does.

The descriptions are the documentation: ``imgclf config init`` writes them as comments. Configuration is frozen after
loading, unknown keys are errors, and each leaf is read in exactly one place of the code (a test counts).
"""

from typing import Annotated, Any, Literal, TypeGuard, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

Int = Annotated[int, Field(strict=True)]
Float = Annotated[float, Field(strict=True)]
Bool = Annotated[bool, Field(strict=True)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class Section(BaseModel):
    """A part of the configuration: frozen, and no key but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the images are, how they are labelled and split."""

    path: str = Field(
        min_length=1,
        description="folder of images, a CSV file, or `digits` (embedded: scikit-learn's handwritten digits)",
    )
    labels: Literal["auto", "folder", "regex", "csv"] = Field(
        "auto",
        description="where the label is: the image's folder, its file name, or a table; auto recognises it",
    )
    pattern: str = Field(r"^(.+)_\d+\.[^.]+$", description="labels: regex - group 1 of this pattern on the file name")
    csv: str | None = Field(
        None, description="labels: csv - the table (CSV or TSV); a relative name is looked up in `path`"
    )
    image_folder: str | None = Field(
        None,
        description="labels: csv - prefix of the table's relative image paths; null: the table's own folder",
    )
    image_column: str = Field("image", description="labels: csv - the column with the image paths")
    label_column: str = Field("label", description="labels: csv - the column with the labels")
    valid_column: str | None = Field(
        None, description="labels: csv - the column with true/false (true = validation) or train/valid/test"
    )
    valid_pct: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        0.2, description="share of the images held out for validation, where the data does not say"
    )
    stratify: Bool = Field(True, description="hold out the same share of every class")
    on_bad_image: Literal["skip", "fail"] = Field(
        "skip", description="an image that cannot be decoded is left out and listed, or ends the run"
    )
    batch_size: Annotated[int, Field(strict=True, ge=2)] | Literal["auto"] = Field(
        "auto",
        description="images per training step; auto: 64, halved (down to 8) until an epoch has 15 steps. "
        "Lowered, and said, when the data has fewer",
    )
    workers: Annotated[int, Field(strict=True, ge=0)] | Literal["auto"] = Field(
        "auto", description="processes that decode images; auto: one a core, at most 8, none for tiny images"
    )


class AugmentConfig(Section):
    """Presizing and augmentation (book, chapter 5: a large item resize, then one batch step to the final size)."""

    presize: Annotated[int, Field(strict=True, ge=4)] = Field(
        460,
        description="side in pixels each training image is resized to before augmentation; at least `size`",
    )
    size: Annotated[int, Field(strict=True, ge=4)] = Field(
        224, description="side in pixels of what the model sees, in training and afterwards"
    )
    resize: Literal["crop", "pad", "squish"] = Field(
        "crop", description="how an image becomes square: centre crop, pad with reflection, or squish"
    )
    engine: Literal["fused", "fastai"] = Field(
        "fused",
        description="fused: crop and augmentation in one interpolation; fastai: aug_transforms, the reference",
    )
    min_scale: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        0.75, description="smallest random crop, as a share of the presized image's area; 1: no random crop"
    )
    flip: Bool = Field(True, description="mirror half of the images left to right")
    flip_vert: Bool = Field(
        False, description="with `flip`: turn and mirror in all eight ways (aerial, microscope images)"
    )
    max_rotate: Annotated[float, Field(strict=True, ge=0, le=180)] = Field(
        10.0, description="largest rotation, degrees"
    )
    max_zoom: Annotated[float, Field(strict=True, ge=1)] = Field(1.1, description="largest zoom in; 1: none")
    max_warp: Share = Field(0.2, description="largest change of perspective")
    max_lighting: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.2, description="largest change of brightness and contrast"
    )
    p_affine: Share = Field(0.75, description="how often rotation, zoom and warp are each applied")
    p_lighting: Share = Field(0.75, description="how often brightness and contrast are each changed")

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


class ModelConfig(Section):
    """The network: parameters of fastai's ``vision_learner`` by their own names."""

    arch: str = Field("resnet34", description="resnet18 | resnet34 | resnet50 | resnet101 | resnet152; `imgclf archs`")
    pretrained: Bool | Literal["auto"] = Field(
        True,
        description="start from ImageNet weights; auto: use them if they can be had, and say loudly when not",
    )
    weights: str | None = Field(None, description="a local .pth or .safetensors file with weights for the body")
    normalize: Bool = Field(True, description="normalise with the mean and deviation of ImageNet")
    concat_pool: Bool = Field(True, description="head: average and maximum pooling side by side (else average only)")
    pool: Bool = Field(True, description="head: pool the body's last feature map (else flatten it)")
    lin_ftrs: tuple[Annotated[int, Field(strict=True, ge=1)], ...] | None = Field(
        None, description="head: sizes of the hidden layers; null: one of 512; []: none"
    )
    ps: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.5, description="head: dropout before the last layer; half of it before the others"
    )
    first_bn: Bool = Field(True, description="head: BatchNorm on the pooled features")
    bn_final: Bool = Field(False, description="head: BatchNorm on the activations at the very end")
    lin_first: Bool = Field(False, description="head: linear before BatchNorm and dropout in each block")
    init: Literal["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"] | None = Field(
        "kaiming_normal", description="how the head's linear layers start; null: PyTorch's own"
    )


class TrainConfig(Section):
    """How the network is fitted."""

    recipe: Literal["auto", "book"] = Field(
        "auto",
        description="book: fastai's fine_tune, step for step; auto: the same for a pretrained body, one cycle over all "
        "layers at one learning rate for an untrained one (nothing to preserve by freezing)",
    )
    epochs: Annotated[int, Field(strict=True, ge=0)] = Field(
        3, description="epochs with all layers training; 0: the frozen phase alone"
    )
    freeze_epochs: Annotated[int, Field(strict=True, ge=0)] = Field(
        1,
        description="epochs before that with only the head training; recipe auto skips them without pretraining",
    )
    lr: Annotated[float, Field(strict=True, gt=0)] | Literal["auto"] = Field(
        "auto", description="the highest learning rate, or auto: what the learning-rate finder suggests"
    )
    lr_mult: Annotated[float, Field(strict=True, ge=1)] = Field(
        100.0,
        description="once unfrozen, the last layers learn at up to lr/2, the first at lr/2/lr_mult",
    )
    opt: Literal["adam", "sgd", "rmsprop", "radam", "ranger", "lamb"] = Field("adam", description="fastai's optimizer")
    wd: Annotated[float, Field(strict=True, ge=0)] | None = Field(
        None, description="weight decay; null: the optimizer's own default (Adam: 0.01)"
    )
    wd_bn_bias: Bool = Field(False, description="weight decay on BatchNorm and biases too")
    train_bn: Bool = Field(True, description="BatchNorm layers keep training while their layer is frozen")
    moms: tuple[Share, Share, Share] = Field(
        (0.95, 0.85, 0.95), description="momentum at the start, the peak and the end of a cycle"
    )
    loss: Literal["auto", "cross_entropy", "label_smoothing", "focal"] = Field(
        "auto", description="auto: cross_entropy"
    )
    metrics: tuple[str, ...] = Field(
        ("error_rate",),
        min_length=1,
        description="shown each epoch; the first one decides which epoch was the best",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 on a CUDA GPU that has it (else fp16) and on a processor with bf16 instructions, "
        "fp32 elsewhere",
    )
    device: str = Field("auto", description="auto | cpu | cuda | cuda:N | mps")

    @model_validator(mode="after")
    def _something_to_train(self) -> "TrainConfig":
        if self.epochs + self.freeze_epochs == 0:
            raise ValueError("train.epochs and train.freeze_epochs are both 0: nothing would be trained")
        return self


class Config(Section):
    """One run, completely described."""

    version: Literal[1] = Field(1, description="of this file's format")
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = Field(
        42, description="the same seed, data and configuration give the same split, and on a CPU the same model"
    )
    offline: Bool = Field(False, description="never use the network, not even for pretrained weights")
    data: DataConfig = Field(description="where the images are, how they are labelled and split")
    augment: AugmentConfig = Field(AugmentConfig(), description="presizing and augmentation")
    model: ModelConfig = Field(ModelConfig(), description="the network")
    train: TrainConfig = Field(TrainConfig(), description="how it is fitted")


def _is_section(kind: Any) -> TypeGuard[type[Section]]:
    # On Python 3.10 `list[str]` is an instance of `type`, and issubclass() refuses it.
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Section)


def leaves(section: type[Section] = Config, prefix: str = "") -> dict[str, str]:
    """Every leaf's dotted key and its description, in the schema's order."""
    found: dict[str, str] = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if _is_section(kind):
            found |= leaves(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.description or ""
    return found
