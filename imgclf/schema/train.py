"""The keys under ``train``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgclf.schema.section import Bool, Section, Share


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
    loss: Literal["auto", "cross_entropy", "label_smoothing", "focal", "bce", "mse", "mae"] = Field(
        "auto", description="auto: cross_entropy for one label an image, bce for several"
    )
    smoothing_eps: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.1, description="loss: label_smoothing - the part of the target that is spread evenly over all classes"
    )
    focal_gamma: Annotated[float, Field(strict=True, ge=0)] = Field(
        2.0, description="loss: focal - how much less images count that are right already; 0: cross_entropy"
    )
    class_weights: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description="how much an image of a class counts in the loss, such as {cat: 2.5}; unnamed classes: 1"
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
