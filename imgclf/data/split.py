"""Who trains and who validates: given by the data, else held out, stratified and seeded."""

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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

    def path(self, sample: Sample) -> Path:
        return self.root / sample.path

    def targets(self, samples: Iterable[Sample]) -> list[int]:
        """Class indices (N,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return [index[s.label] for s in samples]


def split(cfg: Config, samples: Samples) -> Dataset:
    """Assign every sample to a split.

    A sample whose label has no training image cannot be learned: it goes to ``left_out``, for the caller to report.

    Raises:
        DataError: if training or validation would be empty, or training has a single class.
    """
    assigned = list(samples.items)
    if any(s.split == "valid" for s in assigned):
        assigned = [s if s.split else replace(s, split="train") for s in assigned]
    else:
        assigned = hold_out(assigned, cfg.data.valid_pct, cfg.data.stratify, derive(cfg, "split"))
    parts = {name: tuple(s for s in assigned if s.split == name) for name in ("train", "valid", "test")}
    classes = tuple(sorted({s.label for s in parts["train"]}))
    known = set(classes)
    kept = {name: tuple(s for s in part if s.label in known) for name, part in parts.items()}
    left_out = tuple(s for part in parts.values() for s in part if s.label not in known)
    _check(samples.root, classes, kept)
    return Dataset(samples.root, classes, **kept, left_out=left_out)


def hold_out(items: Iterable[Sample], valid_pct: float, stratify: bool, seed: int) -> list[Sample]:
    """Give every sample without a split one of ``train`` and ``valid``.

    Stratified, each class with two or more images has at least one on both sides, and its share is within one image of
    ``valid_pct``. A class never ends up in validation alone. Same seed and samples, same split, in any order.
    """
    free = sorted((s for s in items if s.split is None or s.split == "train"), key=lambda s: s.path)
    fixed = [s for s in items if s.split is not None and s.split != "train"]
    groups: dict[str, list[Sample]] = defaultdict(list)
    for s in free:
        groups[s.label if stratify else ""].append(s)
    chosen: set[str] = set()
    for name, members in groups.items():
        n = min(max(1, round(len(members) * valid_pct)), len(members) - 1)
        chosen |= {s.path for s in random.Random(f"{seed}/{name}").sample(members, n)}
    chosen -= {s.path for s in _would_vanish(free, chosen)}
    return [replace(s, split="valid" if s.path in chosen else "train") for s in free] + fixed


def _would_vanish(free: list[Sample], chosen: set[str]) -> list[Sample]:
    """One chosen sample of each class of which nothing would be left to train on."""
    staying = {s.label for s in free if s.path not in chosen}
    return list({s.label: s for s in free if s.label not in staying}.values())


def _check(root: Path, classes: tuple[str, ...], parts: Mapping[str, tuple[Sample, ...]]) -> None:
    if len(classes) < 2:
        only = f": '{classes[0]}'" if classes else ""
        raise DataError(f"{len(classes)} class{'es' * (not classes)} to train on under {root}{only}; two are needed")
    if not parts["valid"]:
        raise DataError(f"no image under {root} is left to validate on", "raise data.valid_pct, or add images")
    if len(parts["train"]) < 2:
        raise DataError(f"{len(parts['train'])} image to train on under {root}; at least two are needed")


def to_csv(dataset: Dataset, content: Mapping[str, tuple[int, str]]) -> str:
    """``split.csv``: path, label, split, size in bytes and content hash of every image.

    Args:
        content: size and hash by path.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "split", "size", "hash"])
    for part in (dataset.train, dataset.valid, dataset.test):
        for s in part:
            writer.writerow([s.path, s.label, s.split, *content.get(s.path, ("", ""))])
    return stream.getvalue()


def read_csv(path: Path) -> list[Sample]:
    """The samples of a ``split.csv``.

    Raises:
        DataError: if the file cannot be read or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [Sample(row["path"], row["label"], row["split"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(
            f"cannot read the split {path}: {e!r}", "it should have the columns path, label and split"
        ) from e


def share_of_largest(samples: Iterable[Sample]) -> float:
    """The share of the most frequent class: what always answering it would score."""
    counts = Counter(s.label for s in samples)
    return max(counts.values()) / sum(counts.values())
