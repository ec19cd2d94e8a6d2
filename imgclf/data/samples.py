"""Find the images and their labels: the layout is recognised, named, and can be overridden."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imgclf.data import digits
from imgclf.data.images import SUFFIXES
from imgclf.data.location import location
from imgclf.errors import ConfigError, DataError, did_you_mean
from imgclf.schema import Config

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}
SPLIT_VALUES = {**SPLIT_FOLDERS, "true": "valid", "1": "valid", "false": "train", "0": "train"}
SYSTEM_NAMES = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"})
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}
IMAGE_COLUMNS = ("image", "fname", "filename", "file_name", "file", "path", "image_path", "filepath")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
PROBED_ROWS = 20  # of a table, to find the folder of its images: some may be missing
SPLIT_COLUMNS = ("is_valid", "valid", "split")


@dataclass(frozen=True)
class Sample:
    """One image: ``path`` relative to the data's root (POSIX), and the split if the data itself says one."""

    path: str
    label: str
    split: str | None = None


@dataclass(frozen=True)
class Samples:
    """All labelled images, and how they were found."""

    root: Path
    items: tuple[Sample, ...]
    layout: str
    ignored: tuple[str, ...] = ()

    @property
    def class_counts(self) -> dict[str, int]:
        """Images per class, classes in order."""
        return dict(sorted(Counter(s.label for s in self.items).items()))


def scan(cfg: Config, least_classes: int = 2) -> Samples:
    """The labelled images the configuration names.

    Raises:
        DataError: if there are none, fewer than ``least_classes``, or the layout does not fit.
    """
    path = location(cfg)
    if path is None:
        root = digits.folder()
        return Samples(root, tuple(_from_folders(_walk(root)[0])), "the embedded digits, one folder per class")
    if not path.exists():
        raise DataError(f"no such file or folder: {path}", "give the folder with the images: --data PATH")
    found = _LAYOUTS[_layout(cfg, path)](cfg, path)
    if len(found.class_counts) < least_classes:
        raise DataError(_too_few_classes(found), "data.labels says where the label is: folder, regex or csv")
    return found


def _layout(cfg: Config, path: Path) -> str:
    """The configured layout, or the one the folder looks like."""
    chosen = cfg.data.labels
    if chosen != "auto":
        return chosen
    if path.is_file():
        return "csv"
    folders = [p for p in _visible(path) if p.is_dir()]
    if _are_splits(p.name for p in folders) and _has_class_folders(path, folders):
        return "folder"
    holding = [p.name for p in folders if _holds_images(p)]
    only_splits = _are_splits(holding) and all(name.lower() in SPLIT_FOLDERS for name in holding)
    if len(holding) >= 2 and not only_splits:
        return "folder"
    return "csv" if _tables(path) else "regex" if _holds_images(path) else "folder"


def _scan_folders(cfg: Config, root: Path) -> Samples:
    paths, ignored = _walk(_need_folder(root))
    items = tuple(_from_folders(paths))
    splits = sorted({s.split for s in items if s.split})
    used = {s.path for s in items}
    loose = tuple(f"{path} (in no class folder)" for path in paths if str(path) not in used)
    layout = f"class folders under {', '.join(splits)}" if splits else "one folder per class"
    return Samples(root, items, layout, ignored + loose)


def _are_splits(names: Iterable[str]) -> bool:
    """Whether folders are the splits of one data set: one to train on, and one or more held out."""
    found = {SPLIT_FOLDERS.get(name.lower()) for name in names}
    return "train" in found and bool(found & {"valid", "test"})


def _from_folders(paths: list[PurePosixPath]) -> Iterator[Sample]:
    # Only folders in folders: `train` beside `test` and `car`, each full of images, are classes.
    split_layout = _are_splits(p.parts[0] for p in paths if len(p.parts) > 2)
    for path in paths:
        split = SPLIT_FOLDERS.get(path.parts[0].lower()) if split_layout and len(path.parts) > 1 else None
        folders = path.parts[1:-1] if split else path.parts[:-1]
        if folders and (split or not split_layout):
            yield Sample(str(path), folders[0], split)


def _scan_names(cfg: Config, root: Path) -> Samples:
    try:
        pattern = re.compile(cfg.data.pattern)
    except re.error as e:
        raise ConfigError(f"data.pattern is not a regular expression: {e}: {e.pattern!r}") from e
    if pattern.groups < 1:
        raise ConfigError(f"data.pattern has no group: {pattern.pattern!r}", "put the label in brackets: '^(.+)_\\d+'")
    paths, ignored = _walk(_need_folder(root))
    matches = [(path, pattern.search(path.name)) for path in paths]
    tops = SPLIT_FOLDERS if _are_splits(p.parts[0] for p in paths if len(p.parts) > 1) else {}
    items = tuple(Sample(str(p), m.group(1), tops.get(p.parts[0].lower())) for p, m in matches if m and m.group(1))
    missed = tuple(f"{path} (name does not match)" for path, m in matches if not (m and m.group(1)))
    if not items and paths:
        raise DataError(
            f"no file name under {root} matches {pattern.pattern!r}; the first name is '{paths[0].name}'",
            "set data.pattern so that group 1 is the label, or choose another data.labels",
        )
    return Samples(root, items, f"labels from file names by {pattern.pattern}", ignored + missed)


def _scan_table(cfg: Config, path: Path) -> Samples:
    table = _find_table(path, cfg.data.csv)
    rows = _read_table(table)
    if rows.empty:
        raise DataError(f"{table} has no rows")
    image = _column(rows, cfg.data.image_column, IMAGE_COLUMNS, "data.image_column")
    label = _column(rows, cfg.data.label_column, LABEL_COLUMNS, "data.label_column")
    split = _split_column(rows, cfg.data.valid_column)
    folder = _image_folder(table, cfg.data.image_folder, list(rows[image].head(PROBED_ROWS)))
    where = f"{table.name}, column {split}"
    splits = [_split_value(value, where) for value in rows[split]] if split else [None] * len(rows)
    items, unlabelled = [], []
    for name, value, part in zip(rows[image], rows[label], splits, strict=True):
        if str(value).strip():
            items.append(Sample((folder / name).as_posix(), str(value).strip(), part))
        else:
            unlabelled.append(f"{name} (no label)")
    _check_unique(items, table)
    layout = f"table {table.name}: images '{image}' in {folder}/, labels '{label}'" + f", split '{split}'" * bool(split)
    return Samples(table.parent, tuple(items), layout, tuple(unlabelled))


_LAYOUTS: dict[str, Callable[[Config, Path], Samples]] = {
    "folder": _scan_folders,
    "regex": _scan_names,
    "csv": _scan_table,
}


def _walk(root: Path) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """Image files under ``root`` (relative, sorted) and what was passed over (hidden, system, not an image)."""
    images: list[PurePosixPath] = []
    ignored: list[PurePosixPath | str] = []
    for folder, names, files in os.walk(root, followlinks=True):
        at = PurePosixPath(Path(folder).relative_to(root).as_posix())
        passed = {n for n in names if _hidden(n) or _leads_back(Path(folder, n))}
        ignored += [f"{at / n}/" for n in passed]
        names[:] = sorted(set(names) - passed)
        for name in files:
            good = not _hidden(name) and Path(name).suffix.lower() in SUFFIXES
            images.append(at / name) if good else ignored.append(at / name)
    return sorted(images), tuple(sorted(_readable(str(path)) for path in ignored))


def _hidden(name: str) -> bool:
    """Hidden, the system's own, or not UTF-8: no table, configuration or JSON document could hold such a name."""
    return name.startswith(".") or name in SYSTEM_NAMES or name != _readable(name)


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", errors="replace")


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that contains it: following it would never end."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not _hidden(p.name))


def _holds_images(folder: Path) -> bool:
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, files in os.walk(folder) for name in files)


def _has_class_folders(root: Path, folders: list[Path]) -> bool:
    trains = [f for f in folders if SPLIT_FOLDERS.get(f.name.lower()) == "train"]
    return any(p.is_dir() for f in trains for p in _visible(f))


def _need_folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path} is a file; this layout needs a folder of images", "use data.labels: csv for a table")
    return path


def _tables(folder: Path) -> list[Path]:
    return [p for p in _visible(folder) if p.suffix.lower() in TABLE_SUFFIXES]


def _find_table(path: Path, name: str | None) -> Path:
    if path.is_file():
        return path
    if name is not None:
        table = path / name
        if not table.is_file():
            raise DataError(f"no table {table}", "data.csv names the CSV or TSV file, relative to data.path")
        return table
    tables = _tables(path)
    if len(tables) != 1:
        names = ", ".join(t.name for t in tables) or "none"
        raise DataError(f"{path} should hold one table; found: {names}", "name it: --set data.csv=FILE")
    return tables[0]


def _read_table(table: Path) -> Any:
    import pandas as pd

    separator = TABLE_SUFFIXES.get(table.suffix.lower(), ",")
    try:
        rows = pd.read_csv(table, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as e:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise DataError(f"cannot read the table {table}: {e}") from e
    return rows.fillna("").rename(columns=str.strip)  # rows that end early; "image, label"


def _column(rows: Any, wanted: str, known: tuple[str, ...], key: str) -> str:
    """The configured column, else the only one with a customary name."""
    if wanted in rows.columns:
        return wanted
    candidates = [c for c in rows.columns if c.lower() in known]
    if len(candidates) == 1:
        return str(candidates[0])
    raise DataError(
        f"the table has no column '{wanted}' ({key}).{did_you_mean(wanted, rows.columns)}",
        f"its columns: {', '.join(map(str, rows.columns))}; set {key}",
    )


def _split_column(rows: Any, wanted: str | None) -> str | None:
    if wanted is not None:
        return _column(rows, wanted, (), "data.valid_column")
    found = [c for c in rows.columns if c.lower() in SPLIT_COLUMNS]
    return str(found[0]) if len(found) == 1 else None


def _split_value(value: str, where: str) -> str | None:
    text = str(value).strip().lower()
    if text and text not in SPLIT_VALUES:
        raise DataError(f"{where}: '{value}' is no split", "use true/false (true: validation) or train/valid/test")
    return SPLIT_VALUES.get(text)


def _image_folder(table: Path, wanted: str | None, names: list[str]) -> PurePosixPath:
    """Where the table's image paths start, relative to the table: configured, beside it, or the folder that fits."""
    if wanted is not None:
        return PurePosixPath(wanted)
    here = table.parent
    if not any((here / name).is_file() for name in names):
        fits = [p.name for p in _visible(here) if p.is_dir() and any((p / name).is_file() for name in names)]
        if len(fits) == 1:
            return PurePosixPath(fits[0])
    return PurePosixPath()


def _check_unique(items: list[Sample], table: Path) -> None:
    counts = Counter(s.path for s in items)
    twice = [path for path, n in counts.items() if n > 1]
    if twice:
        raise DataError(f"{table}: {len(twice)} images have more than one row, such as '{twice[0]}'")


def _too_few_classes(found: Samples) -> str:
    counts = found.class_counts
    if not counts:
        return f"no labelled images under {found.root} (looked for: {found.layout})"
    name, n = next(iter(counts.items()))
    return f"only one class, '{name}' with {n} images, under {found.root} (looked for: {found.layout})"
