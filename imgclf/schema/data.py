"""The keys under ``data``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgclf.schema.section import Bool, Count, Section


class DataConfig(Section):
    """Where the images are, how they are labelled and split."""

    path: str = Field(
        min_length=1,
        description="folder of images, a table, `digits` (embedded: scikit-learn's handwritten digits), or "
        "`fastai:NAME`, a data set of fastai's `URLs`, downloaded to fastai's data folder if it is not there "
        "(`fastai:NAME/FOLDER`: a folder in it)",
    )
    labels: Literal["auto", "folder", "regex", "csv"] = Field(
        "auto",
        description="where the label is: the image's folder, its file name, or a table; auto recognises it",
    )
    pattern: str = Field(r"^(.+)_\d+\.[^.]+$", description="labels: regex - group 1 of this pattern on the file name")
    csv: str | None = Field(
        None,
        description="the table (CSV, TSV or Parquet) with the labels; a relative name is looked up in `path`. labels: "
        "auto reads it whatever folders there are",
    )
    image_folder: str | None = Field(
        None,
        description="labels: csv - prefix of the table's relative image paths; null: the table's own folder",
    )
    allow_outside: Bool = Field(
        False, description="labels: csv - accept image paths that leave the folder of the table (and `image_folder`)"
    )
    image_column: str = Field("image", description="labels: csv - the column with the image paths")
    label_column: str = Field("label", description="labels: csv - the column with the labels")
    label_delim: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="labels: csv - what separates several labels in one cell (multi-label), such as `;`; null: "
        "recognised in a column `labels` or `tags`; none: one label a cell",
    )
    label_columns: Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        None,
        description="labels: csv - a column for each label, holding 1 or 0 (multi-label); null: recognised where "
        "there is no label column",
    )
    valid_column: str | None = Field(
        None, description="labels: csv - the column with true/false (true = validation) or train/valid/test"
    )
    valid_pct: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        0.2, description="share of the images held out for validation, where the data does not say"
    )
    stratify: Bool = Field(True, description="hold out the same share of every class")
    group_by: str | None = Field(
        None,
        description="images of one group (a patient, a film) stay on one side: a column of the table, or a pattern on "
        "the path whose group 1 names it",
    )
    folds: Annotated[int, Field(strict=True, ge=2)] | None = Field(
        None, description="cross-validation: deal the images into so many folds, instead of `valid_pct`"
    )
    fold: Count = Field(1, description="which fold validates, 1 to `folds`")
    split: str | None = Field(
        None, description="use the split of an earlier run: its `split.csv`, or its folder; new images are not used"
    )
    extra_classes: Literal["ignore", "fail"] = Field(
        "ignore",
        description="labels that only validation or test images have: leave them out and say so, or end",
    )
    corrections: str | None = Field(
        None, description="a CSV with the columns path, action (relabel or drop) and label, applied on reading"
    )
    balance: Literal["none", "sampler", "loss"] = Field(
        "none",
        description="for rare classes: sampler draws their images more often, loss gives them more weight (several "
        "labels an image: loss only); at most ten times the commonest class",
    )
    channels: Literal["auto", 1, 3] = Field(
        "auto",
        description="3: RGB; 1: grey, a pretrained first layer summed over its colours; auto: 1 where no training "
        "image has colour and nothing is pretrained, else 3",
    )
    grey_range: tuple[Annotated[float, Field(strict=True)], Annotated[float, Field(strict=True)]] | None = Field(
        None,
        description="files of grey with more than 8 bits: the values that become black and white, such as [0, 4095] "
        "for 12 bits; null: 0 to 65,535, of other numbers each image's own lowest and highest",
    )
    on_bad_image: Literal["skip", "fail"] = Field(
        "skip", description="an image that cannot be decoded is left out and listed, or ends the run"
    )
    on_leak: Literal["warn", "fix", "fail"] = Field(
        "warn",
        description="a picture in training and held out as well: say so; keep each group of equal or nearly equal "
        "pictures on one side (in the split, never in the files); or end",
    )
    batch_size: Annotated[int, Field(strict=True, ge=2)] | Literal["auto"] = Field(
        "auto",
        description="images per training step; auto: 64, halved (down to 8) until an epoch has 15 steps; "
        "from random weights (down to 16) until it has 30. "
        "Lowered, and said, when the data has fewer",
    )
    workers: Annotated[int, Field(strict=True, ge=0)] | Literal["auto"] = Field(
        "auto",
        description="processes that decode images; auto: one a core, at most 8, with a GPU 16, and no "
        "more than there are batches; none for tiny images",
    )
    cache: Literal["none", "ram", "disk"] = Field(
        "none",
        description="keep decoded images, so that epochs after the first do not decode them again: ram, for this run; "
        "disk, in the user's cache folder, for later runs too. The pixels stay the same, bit for bit",
    )
    cache_gb: Annotated[float, Field(strict=True, gt=0)] = Field(
        10.0, description="cache: the most it may hold, GB; on disk the files unused for longest make room"
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> "DataConfig":
        if self.folds is not None and self.fold > self.folds:
            raise ValueError(f"data.fold is {self.fold}, but data.folds is {self.folds}: folds count from 1")
        if self.folds is None and self.fold != 1:
            raise ValueError(f"data.fold is {self.fold} without data.folds: into how many folds?")
        return self

    @model_validator(mode="after")
    def _black_is_below_white(self) -> "DataConfig":
        if self.grey_range is not None and self.grey_range[0] >= self.grey_range[1]:
            raise ValueError(f"data.grey_range: {list(self.grey_range)} must be [black, white] with black below white")
        return self
