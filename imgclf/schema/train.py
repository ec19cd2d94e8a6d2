"""The keys under ``train``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgclf.schema.section import Bool, Count, Section, Share

Rate = Annotated[float, Field(strict=True, gt=0)]


class StageConfig(Section):
    """One stage of ``train.schedule: staged``: a ``freeze_to`` and a ``fit_one_cycle`` of fastai."""

    epochs: Count = Field(description="of this stage")
    freeze_to: Annotated[int, Field(strict=True)] = Field(
        description="the first layer group that trains: 0 all, -1 the head alone, -2 the head and the group before it"
    )
    lr: Rate | tuple[Rate, Rate] = Field(
        description="the highest learning rate: of all layers, or [first layers, last layers]"
    )

    @property
    def lrs(self) -> tuple[float, ...]:
        """The rate or rates as a tuple."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr,)


class TrainConfig(Section):
    """How the network is fitted."""

    recipe: Literal["auto", "book"] = Field(
        "auto",
        description="what the keys at auto stand for. book: what fastai's fine_tune does, loss for loss; auto: on a "
        "pretrained body the probe, the best linear head for it, then the body too; else as the book",
    )
    schedule: Literal["auto", "fine_tune", "one_cycle", "flat_cos", "staged"] = Field(
        "auto",
        description="fine_tune: the head first, then all layers at discriminative rates; one_cycle: all layers from "
        "the start, one cycle at one rate; flat_cos: the same, the rate level at first; staged: what `stages` says. "
        "auto: fine_tune if anything is pretrained, freeze_epochs is given or the recipe is book; else one_cycle "
        "(nothing to preserve by freezing)",
    )
    epochs: Annotated[int, Field(strict=True, ge=0)] = Field(
        3, description="epochs with the body training; 0: the probe, or the frozen phase, alone"
    )
    freeze_epochs: Annotated[int, Field(strict=True, ge=0)] | Literal["auto"] = Field(
        "auto", description="fine_tune: epochs before that with only the head training; auto: 1"
    )
    stages: tuple[StageConfig, ...] | None = Field(
        None,
        min_length=1,
        description="staged: one cycle after another, such as [{epochs: 1, freeze_to: -1, lr: 2e-3}, "
        "{epochs: 2, freeze_to: 0, lr: [1e-5, 1e-3]}]. freeze_to: the first layer group that trains (0: all, "
        "-1: the head alone); lr: of all layers, or [first, last]",
    )
    lr: Rate | Literal["auto"] = Field(
        "auto",
        description="the highest learning rate, or auto: a fixed one after the probe, higher if the body was made for "
        "other images or hardly knows them (train.freeze_to), and for a ResNet from random weights with Adam; else "
        "what the learning-rate finder suggests",
    )
    lr_mult: Annotated[float, Field(strict=True, ge=1)] | Literal["auto"] = Field(
        "auto",
        description="once unfrozen, the first layers learn at the rate of the last ones divided by this; auto: 100, "
        "and 1 after the probe, whose head needs the least",
    )
    lr_unfrozen: Rate | Literal["auto"] | None = Field(
        None,
        description="fine_tune: the highest learning rate once unfrozen, instead of lr/2; auto: what a second run of "
        "the finder suggests, the body training, after the frozen phase; null: lr/2",
    )
    opt: Literal["adam", "sgd", "rmsprop", "radam", "ranger", "lamb"] = Field("adam", description="fastai's optimizer")
    wd: Annotated[float, Field(strict=True, ge=0)] | None = Field(
        None, description="weight decay; null: the optimizer's own default (Adam: 0.01)"
    )
    wd_bn_bias: Bool = Field(False, description="weight decay on BatchNorm and biases too")
    freeze_to: Annotated[int, Field(strict=True)] | Literal["auto"] = Field(
        "auto",
        description="fine_tune: the first layer group that trains once unfrozen: 0 all, 1 all but the first, -2 the "
        "head and the group before it. auto: 0; after the probe -2, of a ResNet stages 3 and 4, a third quicker, "
        "or 0 where the probe finds that the body was made for other images, or hardly knows them and 5,000 will pass "
        "by",
    )
    train_bn: Bool | Literal["auto"] = Field(
        "auto",
        description="BatchNorm layers keep training while their layer is frozen; auto: where the head does not begin "
        "at the probe",
    )
    freeze_bn: Bool | Literal["auto"] = Field(
        "auto",
        description="BatchNorm layers of the body keep the statistics of their pretraining, instead of taking those "
        "of each batch; auto: where the head begins at the probe",
    )
    out_of_fold: Bool = Field(
        True,
        description="after the probe, each training image is answered by a head of its cross-validation that was "
        "fitted without it: the body learns from mistakes such as on new images, the head stays as it is. Not with "
        "MixUp, CutMix, compile or more than 10,000 images. false: the head trains along",
    )
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
    class_weights: dict[str, Rate] | None = Field(
        None, description="how much an image of a class counts in the loss, such as {cat: 2.5}; unnamed classes: 1"
    )
    clip: Rate | None = Field(
        None, description="fastai's GradientClip: the largest norm of all gradients together; null: no limit"
    )
    accumulate: Count = Field(
        1,
        description="compute each batch in so many parts, one after another, and add up their gradients: the memory of "
        "data.batch_size / accumulate images, the step of data.batch_size (BatchNorm's statistics are those of a "
        "part). Unlike fastai's GradientAccumulation no gradient is carried from batch to batch, so that a run resumes "
        "exactly",
    )
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["auto"] = Field(
        "auto",
        description="a list, shown each epoch; the first one decides which epoch was the best. auto: [error_rate]; "
        "where images have several labels [average_precision, accuracy_multi]",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 (on CUDA else fp16) where a step was measured to be quicker in it and right, once a "
        "machine; fp32 elsewhere; a resumed run keeps what it began with",
    )
    ema: Annotated[float, Field(strict=True, gt=0, lt=1)] | Literal["auto", "mean", "late"] | None = Field(
        "auto",
        description="validate and keep an average of the weights rather than the last ones: a number, such as 0.99, is "
        "how much of it each step leaves (an exponential moving average over about 100 steps); mean: of all steps "
        "alike; late: of all, the later the more; null: no average; auto: where the head begins at the probe mean, or "
        "late if all of the body trains for the images' sake (train.freeze_to), else null",
    )
    on_nan: Literal["stop", "retry"] = Field(
        "stop",
        description="when the loss or the weights become NaN or infinite. stop: end the run at its last good state; "
        "retry: go back to the last good checkpoint and on at half the learning rates, at most three times",
    )
    baselines: Bool = Field(
        True,
        description="at the end, judge simple classifiers on the features of the pretrained body too (what fine-tuning "
        "bought), and whether more images would help: seconds after the probe, else one more pass over at most 10,000 "
        "training images and the validation images; without pretrained weights there is nothing to judge",
    )
    patience: Count | None = Field(
        None, description="stop after so many epochs without a better one, counted over all phases; null: never"
    )
    checkpoint_minutes: Annotated[float, Field(strict=True, ge=0)] = Field(
        10.0, description="within an epoch last.ckpt is written this often, besides at its end; 0: after every step"
    )
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = Field(
        (),
        description="also log to these, such as [tensorboard, mlflow]: each a part of the installation of its own "
        "(`pip install imgclf[tensorboard]`), in the folder `trackers` of the run and without the network",
    )
    device: str = Field("auto", description="auto | cpu | cuda | cuda:N | mps")
    devices: Count = Field(
        1,
        description="how many devices of this machine `train` uses, a process each (docs/distributed.md); under "
        "torchrun or accelerate launch these decide",
    )
    channels_last: Bool | Literal["auto"] = Field(
        "auto",
        description="keep images in memory pixel by pixel rather than channel by channel, which some devices compute "
        "faster; auto: on a processor in bf16, and from 128 pixels on",
    )
    compile: Bool = Field(
        False,
        description="torch.compile the network: slow first batches, then faster ones; needs a C++ compiler",
    )
    deterministic: Bool = Field(
        False,
        description="only kernels that give the same bits every time: slower on CUDA, where model.concat_pool must "
        "be false; on a processor runs repeat without it",
    )

    @model_validator(mode="after")
    def _something_to_train(self) -> "TrainConfig":
        if self.epochs == 0 == self.freeze_epochs:
            raise ValueError("train.epochs and train.freeze_epochs are both 0: nothing would be trained")
        if self.epochs == 0 and self.schedule in ("one_cycle", "flat_cos"):
            raise ValueError(f"train.epochs is 0: nothing would be trained (train.schedule: {self.schedule})")
        return self

    @model_validator(mode="after")
    def _schedule_and_keys_agree(self) -> "TrainConfig":
        if self.recipe == "book" and self.schedule not in ("auto", "fine_tune"):
            raise ValueError(
                f"train.recipe: book is the schedule fine_tune, train.schedule is {self.schedule}: leave one out"
            )
        if self.recipe == "book" and self.lr_unfrozen is not None:
            raise ValueError(
                "train.recipe: book is fine_tune, which takes half the first rate once unfrozen; train.lr_unfrozen is "
                f"{self.lr_unfrozen}: leave one out"
            )
        if self.recipe == "book" and self.freeze_to not in ("auto", 0):
            raise ValueError(
                "train.recipe: book is fine_tune, which in the end trains all layers; train.freeze_to is "
                f"{self.freeze_to}: leave one out"
            )
        if (self.schedule == "staged") != (self.stages is not None):
            raise ValueError("train.schedule: staged and train.stages need each other: set both or neither")
        useless = [
            f"train.{key} ({getattr(self, key)})"
            for key in USELESS.get(self.schedule, ())
            if getattr(self, key) not in (type(self).model_fields[key].default, 0)
        ]
        if useless:
            raise ValueError(f"{', '.join(useless)}: without effect in train.schedule: {self.schedule}; leave it out")
        return self


# Keys that would be silently ignored in a schedule; at their default they do no harm.
USELESS = {
    "one_cycle": ("freeze_epochs", "freeze_to", "lr_mult", "lr_unfrozen"),
    "flat_cos": ("freeze_epochs", "freeze_to", "lr_mult", "lr_unfrozen", "moms"),
    "staged": ("epochs", "freeze_epochs", "freeze_to", "lr", "lr_mult", "lr_unfrozen"),
}
