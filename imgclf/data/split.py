"""Who trains and who validates: given by the data, else held out, stratified and seeded."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imgclf import runs
from imgclf.console import some
from imgclf.data import changes, draw
from imgclf.data.changes import Recorded
from imgclf.data.labels import join
from imgclf.data.samples import Sample, Samples, Task
from imgclf.errors import DataError
from imgclf.randomness import derive
from imgclf.schema import Config


@dataclass(frozen=True)
class Dataset:
    """The labelled images of each split; ``classes`` come from the training images and are in order."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    valid: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()
    left_out: tuple[Sample, ...] = ()
    multi_label: bool = False
    reused: tuple[Recorded, ...] = ()  # the split.csv that decided, if one did
    new: int = 0  # images it does not name: they are not used

    @property
    def task(self) -> Task:
        return "multi" if self.multi_label else "single"

    def path(self, sample: Sample) -> Path:
        return self.root / sample.path

    def targets(self, samples: Iterable[Sample]) -> list[int] | list[list[int]]:
        """Class indices (N,); with several labels an image a row of 0 and 1 (N, C), labels of no class passed over."""
        if self.multi_label:
            return [[int(name in s.labels) for name in self.classes] for s in samples]
        index = {name: i for i, name in enumerate(self.classes)}
        return [index[s.label] for s in samples]


def split(cfg: Config, samples: Samples) -> Dataset:
    """Assign every sample to a split.

    A sample of which no label has a training image cannot be learned or judged: it goes to ``left_out``, for the caller
    to report. One with several labels keeps them all; those without a training image are no classes.

    Raises:
        DataError: if training or validation would be empty, or training has a single class.
    """
    reuse = cfg.data.split
    rows = changes.read(split_file(Path(reuse))) if reuse else []
    assigned, remedy = _reused(samples, rows, str(reuse)) if reuse else _assigned(cfg, samples)
    parts = {name: tuple(s for s in assigned if s.split == name) for name in ("train", "valid", "test")}
    classes = tuple(sorted({label for s in parts["train"] for label in s.labels}))
    known = set(classes)
    kept = {name: tuple(s for s in part if not s.labels or known & set(s.labels)) for name, part in parts.items()}
    left_out = tuple(s for part in parts.values() for s in part if s.labels and not known & set(s.labels))
    extra = _extra(classes, (*parts["valid"], *parts["test"]))
    if extra and cfg.data.extra_classes == "fail":
        raise DataError(
            f"validation or test images have {len(extra)} labels without a training image: {_some(extra)}",
            "add training images, or leave them out: --set data.extra_classes=ignore",
        )
    _check(samples.root, classes, kept, left_out, remedy)
    known_paths = {row.sample.path for row in rows}
    new = sum(s.path not in known_paths for s in samples.items) if reuse else 0
    return Dataset(
        samples.root, classes, **kept, left_out=left_out, multi_label=samples.multi_label, reused=tuple(rows), new=new
    )


def split_file(path: Path) -> Path:
    """A ``split.csv``, given itself or as its run's folder."""
    return path / runs.SPLIT if path.is_dir() else path


def _assigned(cfg: Config, samples: Samples) -> tuple[list[Sample], str]:
    """Every sample with its split: the data's own, a fold, or a draw; and what helps where nobody validates."""
    items, folds, number = list(samples.items), cfg.data.folds, cfg.data.fold
    if any(s.split == "valid" for s in items):
        if folds:
            raise DataError("data.folds is set, but the data says itself who validates", "leave data.folds out")
        given = [s if s.split else replace(s, split="train") for s in items]
        return given, "give validation images of the classes there are, under the names of its classes in training"
    pct, stratify, seed = cfg.data.valid_pct, cfg.data.stratify, derive(cfg, "split")
    if folds:
        return draw.fold(items, folds, number, stratify, seed), "use fewer data.folds, or add images"
    if any(s.group for s in items):
        hold_out = draw.hold_out_groups
    else:
        hold_out = draw.hold_out_multi if samples.multi_label else draw.hold_out
    return hold_out(items, pct, stratify, seed), "raise data.valid_pct, or add images"


def _reused(samples: Samples, rows: list[Recorded], where: str) -> tuple[list[Sample], str]:
    """The samples that a ``split.csv`` names, where it puts them; and what helps where nobody validates."""
    remedy = "take the split of a run on the same data"
    part = {row.sample.path: row.sample.split for row in rows}
    found = [replace(s, split=part[s.path]) for s in samples.items if s.path in part]
    if not found:
        raise DataError(
            f"{where} (data.split) names none of the {len(samples.items)} images under {samples.root}", remedy
        )
    return found, remedy


def notes(dataset: Dataset) -> list[str]:
    """Classes only in training, labels of held-out images that are in no training image, groups on both sides."""
    held = {label for s in dataset.valid for label in s.labels}
    missing = [name for name in dataset.classes if name not in held]
    said = (
        [f"{len(missing)} of {len(dataset.classes)} classes have no validation image: {_some(missing)}"]
        if missing
        else []
    )
    extra = _extra(dataset.classes, (*dataset.valid, *dataset.test))
    if extra:
        said.append(f"{len(extra)} labels of validation or test images have no training image: {_some(extra)}")
    parted = {s.group for s in dataset.train if s.group} & {s.group for s in (*dataset.valid, *dataset.test)}
    if parted:
        said.append(
            f"{len(parted)} groups (data.group_by) are both in training and held out, as the data itself or the split "
            f"that is reused says: {_some(sorted(map(str, parted)))}; the figures will be too good"
        )
    return said


def _extra(classes: Iterable[str], held: Iterable[Sample]) -> list[str]:
    return sorted({label for s in held for label in s.labels} - set(classes))


def _some(names: list[str]) -> str:
    return some([f"'{name}'" for name in names])


def _check(
    root: Path,
    classes: tuple[str, ...],
    parts: Mapping[str, tuple[Sample, ...]],
    left_out: tuple[Sample, ...],
    remedy: str,
) -> None:
    if len(classes) < 2:
        only = f": '{classes[0]}'" if classes else ""
        raise DataError(f"{len(classes)} class{'es' * (not classes)} to train on under {root}{only}; two are needed")
    if not parts["valid"]:
        n = len(left_out)
        why = f": {n} held-out image{'s have' if n > 1 else ' has'} a label of no training image" * bool(n)
        raise DataError(f"no image under {root} is left to validate on{why}", remedy)
    if len(parts["train"]) < 2:
        raise DataError(f"{len(parts['train'])} image to train on under {root}; at least two are needed")


def to_csv(dataset: Dataset, content: Mapping[str, tuple[int, str]]) -> str:
    """``split.csv``: path, labels (see ``labels.join``), split, size in bytes and content hash of every image.

    And its group, where any image is in one.

    Args:
        content: size and hash by path.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    samples = (*dataset.train, *dataset.valid, *dataset.test)
    grouped = any(s.group for s in samples)
    writer.writerow(["path", "label", "split", "size", "hash", *["group"] * grouped])
    for s in samples:
        row = [s.path, join(s.labels), s.split, *content.get(s.path, ("", ""))]
        writer.writerow([*row, *[s.group or ""] * grouped])
    return stream.getvalue()


def read_csv(path: Path) -> list[Sample]:
    """The samples of a ``split.csv``.

    Raises:
        DataError: if the file cannot be read or lacks a column.
    """
    return [row.sample for row in changes.read(path)]
