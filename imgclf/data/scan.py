"""Find the images and their labels: the layout is recognised, named, and can be overridden."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imgclf.console import Terminal
from imgclf.data import corrections, digits, groups
from imgclf.data.folders import SPLIT_FOLDERS, are_splits, from_folders, has_class_folders, scan_folders
from imgclf.data.location import location
from imgclf.data.names import scan_names
from imgclf.data.samples import Samples
from imgclf.data.tables import named_table, scan_table, tables
from imgclf.data.walk import holds_images, is_image, visible, walk
from imgclf.errors import DataError
from imgclf.schema import Config

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def scan(cfg: Config, least_classes: int = 2, terminal: Terminal | None = None) -> Samples:
    """The labelled images the configuration names.

    Raises:
        DataError: if there are none, fewer than ``least_classes``, or the layout does not fit.
    """
    path = location(cfg, fetch=terminal or Terminal(quiet=True), needed=True)
    if path is None:
        root = digits.folder()
        layout = "the embedded digits, one folder per class"
        return _finish(cfg, Samples(root, tuple(from_folders(walk(root)[0])), layout))
    if path.is_file():
        _no_table(path)
    found = replace(_finish(cfg, _LAYOUTS[_layout(cfg, path)](cfg, path)), recognised=True)
    if len(found.class_counts) < least_classes:
        raise DataError(_too_few_classes(found), _where_are_the_classes(found))
    return found


def _finish(cfg: Config, found: Samples) -> Samples:
    """Samples corrected and grouped, if the configuration says so."""
    file, rule = corrections.file_of(cfg), groups.rule(cfg)
    if file is not None:
        found = corrections.apply(file, found)
    return groups.by_pattern(rule, found) if rule else found


def _no_table(path: Path) -> None:
    """Refuse a file that is named by mistake; any other is read as a table.

    Raises:
        DataError: for an image or an archive.
    """
    if is_image(path):
        raise DataError(
            f"{path} is one image: labels come from folders, file names or a table",
            f"name the folder with the images: --data FOLDER; to classify it: imgclf predict MODEL {path}",
        )
    if path.suffix.lower() in ARCHIVES:
        raise DataError(f"{path} is an archive", "unpack it, and name the folder: --data FOLDER")


def _layout(cfg: Config, path: Path) -> str:
    """The configured layout, or the one the folder looks like."""
    chosen = cfg.data.labels
    if chosen != "auto":
        return chosen
    if path.is_file() or named_table(cfg) is not None:
        return "csv"
    folders = [p for p in visible(path) if p.is_dir()]
    if are_splits(p.name for p in folders) and has_class_folders(path, folders):
        return "folder"
    holding = [p.name for p in folders if holds_images(p)]
    only_splits = are_splits(holding) and all(name.lower() in SPLIT_FOLDERS for name in holding)
    if len(holding) >= 2 and not only_splits:
        return "folder"
    if tables(path):
        return "csv"
    loose = any(is_image(p) for p in visible(path))
    one_class = len(holding) == 1 and not loose and not _names_tell_classes(cfg, path)
    return "folder" if one_class or not (holding or loose) else "regex"


def _names_tell_classes(cfg: Config, path: Path) -> bool:
    try:
        return len(scan_names(cfg, path).class_counts) >= 2
    except DataError:
        return False


_LAYOUTS: dict[str, Callable[[Config, Path], Samples]] = {
    "folder": scan_folders,
    "regex": scan_names,
    "csv": scan_table,
}


def _too_few_classes(found: Samples) -> str:
    counts = found.class_counts
    if not counts:
        return f"no labelled images under {found.root} (looked for: {found.layout})"
    name, n = next(iter(counts.items()))
    return f"only one class, '{name}' with {n} images, under {found.root} (looked for: {found.layout})"


def _where_are_the_classes(found: Samples) -> str:
    counts = found.class_counts
    if not counts:
        return "data.labels says where the label is: folder, regex or csv"
    if not found.items[0].path.startswith(f"{next(iter(counts))}/"):
        return (
            f"if this is the folder of one class, name the one above: --data {found.root.resolve().parent}; else "
            "data.labels says where the label is: folder, regex or csv"
        )
    return (
        "put each class in a folder of its own, two or more beside each other; if the file names hold the labels: "
        "--set data.labels=regex (and data.pattern); if the class folders lie deeper: --data FOLDER"
    )
