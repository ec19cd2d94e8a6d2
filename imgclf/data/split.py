"""Who trains and who validates: given by the data, else held out, stratified and seeded."""

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imgclf.data.labels import join, parse
from imgclf.data.samples import Sample, Samples
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
    assigned = list(samples.items)
    if any(s.split == "valid" for s in assigned):
        assigned = [s if s.split else replace(s, split="train") for s in assigned]
    else:
        draw = hold_out_multi if samples.multi_label else hold_out
        assigned = draw(assigned, cfg.data.valid_pct, cfg.data.stratify, derive(cfg, "split"))
    parts = {name: tuple(s for s in assigned if s.split == name) for name in ("train", "valid", "test")}
    classes = tuple(sorted({label for s in parts["train"] for label in s.labels}))
    known = set(classes)
    kept = {name: tuple(s for s in part if not s.labels or known & set(s.labels)) for name, part in parts.items()}
    left_out = tuple(s for part in parts.values() for s in part if s.labels and not known & set(s.labels))
    _check(samples.root, classes, kept)
    return Dataset(samples.root, classes, **kept, left_out=left_out, multi_label=samples.multi_label)


def hold_out(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """Give every sample without a split one of ``train`` and ``valid``; each has one label.

    Stratified, each class with two or more images has at least one on both sides, and its share is within one image of
    ``valid_pct``. A class never ends up in validation alone. Same seed and samples, same split, in any order.
    """
    free, fixed = _free_and_fixed(items)
    groups: dict[str, list[Sample]] = defaultdict(list)
    for s in free:
        groups[s.label if stratify else ""].append(s)
    chosen: set[str] = set()
    for name, members in groups.items():
        chosen |= _draw(members, _share(len(members), valid_pct), f"{seed}/{name}")
    return _assign(free, chosen) + fixed


def hold_out_multi(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """As ``hold_out``, for any number of labels an image.

    Stratified, labels are served from the rarest to the most frequent, each from the images no rarer label has placed
    (after Sechidis et al. 2011, "On the stratification of multi-label data"); images without a label come last.
    """
    free, fixed = _free_and_fixed(items)
    groups: dict[str, list[Sample]] = defaultdict(list)
    for s in free:
        for label in (s.labels or ("",)) if stratify else ("",):
            groups[label].append(s)
    placed: dict[str, bool] = {}
    for name, members in sorted(groups.items(), key=lambda group: (group[0] == "", len(group[1]), group[0])):
        open_ = [s for s in members if s.path not in placed]
        missing = _share(len(members), valid_pct) - sum(placed.get(s.path, False) for s in members)
        held = _draw(open_, max(0, min(missing, len(open_))), f"{seed}/{name}")
        placed |= {s.path: s.path in held for s in open_}
    return _assign(free, {path for path, held in placed.items() if held}) + fixed


def _free_and_fixed(items: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Those a validation split may take from, in one order; and those the data has placed in another."""
    free = sorted((s for s in items if s.split is None or s.split == "train"), key=lambda s: s.path)
    return free, [s for s in items if s.split is not None and s.split != "train"]


def _share(n: int, valid_pct: float) -> int:
    """How many of ``n`` to hold out: at least one on both sides, and a single one trains."""
    return min(max(1, round(n * valid_pct)), n - 1)


def _draw(members: list[Sample], n: int, seed: str) -> set[str]:
    return {s.path for s in random.Random(seed).sample(members, n)}


def _assign(free: list[Sample], chosen: set[str]) -> list[Sample]:
    chosen = chosen - {s.path for s in _would_vanish(free, chosen)}
    return [replace(s, split="valid" if s.path in chosen else "train") for s in free]


def _would_vanish(free: list[Sample], chosen: set[str]) -> list[Sample]:
    """One chosen sample of each class of which nothing would be left to train on."""
    staying = {label for s in free if s.path not in chosen for label in s.labels}
    return list({label: s for s in free for label in s.labels if label not in staying}.values())


def _check(root: Path, classes: tuple[str, ...], parts: Mapping[str, tuple[Sample, ...]]) -> None:
    if len(classes) < 2:
        only = f": '{classes[0]}'" if classes else ""
        raise DataError(f"{len(classes)} class{'es' * (not classes)} to train on under {root}{only}; two are needed")
    if not parts["valid"]:
        raise DataError(f"no image under {root} is left to validate on", "raise data.valid_pct, or add images")
    if len(parts["train"]) < 2:
        raise DataError(f"{len(parts['train'])} image to train on under {root}; at least two are needed")


def to_csv(dataset: Dataset, content: Mapping[str, tuple[int, str]]) -> str:
    """``split.csv``: path, labels (see ``labels.join``), split, size in bytes and content hash of every image.

    Args:
        content: size and hash by path.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "split", "size", "hash"])
    for part in (dataset.train, dataset.valid, dataset.test):
        for s in part:
            writer.writerow([s.path, join(s.labels), s.split, *content.get(s.path, ("", ""))])
    return stream.getvalue()


def read_csv(path: Path) -> list[Sample]:
    """The samples of a ``split.csv``.

    Raises:
        DataError: if the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [Sample(row["path"], parse(row["label"]), row["split"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"cannot read the split {path}: {e!r}", "it should have the columns path, label and split"
        ) from e


def share_of_largest(samples: Iterable[Sample]) -> float:
    """The share of the most frequent class: what always answering it would score."""
    counts = Counter(s.label for s in samples)
    return max(counts.values()) / sum(counts.values())
