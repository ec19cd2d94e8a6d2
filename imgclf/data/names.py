"""Labels from file names, by a regular expression."""

import re
from pathlib import Path

from imgclf.data.folders import SPLIT_FOLDERS, are_splits
from imgclf.data.samples import Sample, Samples
from imgclf.data.walk import need_folder, walk
from imgclf.errors import ConfigError, DataError
from imgclf.schema import Config


def scan_names(cfg: Config, root: Path) -> Samples:
    try:
        pattern = re.compile(cfg.data.pattern)
    except re.error as e:
        raise ConfigError(f"data.pattern is not a regular expression: {e}: {e.pattern!r}") from e
    if pattern.groups < 1:
        raise ConfigError(f"data.pattern has no group: {pattern.pattern!r}", "put the label in brackets: '^(.+)_\\d+'")
    paths, ignored = walk(need_folder(root))
    matches = [(path, pattern.search(path.name)) for path in paths]
    tops = SPLIT_FOLDERS if are_splits(p.parts[0] for p in paths if len(p.parts) > 1) else {}
    items = tuple(Sample(str(p), (m.group(1),), tops.get(p.parts[0].lower())) for p, m in matches if m and m.group(1))
    missed = tuple(f"{path} (name does not match)" for path, m in matches if not (m and m.group(1)))
    if not items and paths:
        raise DataError(
            f"no file name under {root} matches {pattern.pattern!r}; the first name is '{paths[0].name}'",
            "set data.pattern so that group 1 is the label, or choose another data.labels; are folders the classes? "
            "Then there must be two or more",
        )
    return Samples(root, items, f"labels from file names by {pattern.pattern}", ignored + missed)
