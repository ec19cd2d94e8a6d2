"""Labels from folders: one for each class, below a folder for each split or not."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from imgclf.data.samples import Sample, Samples
from imgclf.data.walk import need_folder, visible, walk
from imgclf.schema import Config

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def scan_folders(cfg: Config, root: Path) -> Samples:
    paths, ignored = walk(need_folder(root))
    items = tuple(from_folders(paths))
    splits = sorted({s.split for s in items if s.split})
    used = {s.path for s in items}
    loose = tuple(f"{path} (in no class folder)" for path in paths if str(path) not in used)
    layout = f"class folders under {', '.join(splits)}" if splits else "one folder per class"
    return Samples(root, items, layout, ignored + loose)


def are_splits(names: Iterable[str]) -> bool:
    """Whether folders are the splits of one data set: one to train on, and one or more held out."""
    found = {SPLIT_FOLDERS.get(name.lower()) for name in names}
    return "train" in found and bool(found & {"valid", "test"})


def from_folders(paths: list[PurePosixPath]) -> Iterator[Sample]:
    # Only folders in folders: `train` beside `test` and `car`, each full of images, are classes.
    split_layout = are_splits(p.parts[0] for p in paths if len(p.parts) > 2)
    for path in paths:
        split = SPLIT_FOLDERS.get(path.parts[0].lower()) if split_layout and len(path.parts) > 1 else None
        folders = path.parts[1:-1] if split else path.parts[:-1]
        if folders and (split or not split_layout):
            yield Sample(str(path), (folders[0],), split)


def has_class_folders(root: Path, folders: list[Path]) -> bool:
    trains = [f for f in folders if SPLIT_FOLDERS.get(f.name.lower()) == "train"]
    return any(p.is_dir() for f in trains for p in visible(f))
