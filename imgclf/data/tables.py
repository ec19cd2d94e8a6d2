"""Labels from a table: which column is what, where its images are, and its rows as samples."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from imgclf.data import columns, groups, inside, labels
from imgclf.data.samples import Sample, Samples
from imgclf.data.walk import visible
from imgclf.errors import DataError, missing
from imgclf.schema import Config

PARQUET = ".parquet"
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t", PARQUET: ""}
PROBED_ROWS = 20  # of a table, to find the folder of its images: some may be missing


def scan_table(cfg: Config, path: Path) -> Samples:
    table = _find_table(path, cfg.data.csv)
    rows = _read_table(table)
    if rows.empty:
        raise DataError(f"{table} has no rows")
    image = columns.need(rows, cfg.data.image_column, columns.IMAGE_COLUMNS, "data.image_column")
    given = cfg.data.image_folder
    rows[image] = _with_slashes(list(rows[image]), table.parent / (given or ""))
    split = columns.split_column(rows, cfg.data.valid_column)
    named = labels.read(cfg, rows, used=(image, split, groups.rule(cfg)))
    where = f"{table.name}, column {split}"
    where_images = _image_folder if cfg.data.allow_outside else _inside
    wanted = given and _with_slashes([given], table.parent)[0]
    folder = where_images(table, wanted, rows[image])
    splits = [columns.split_value(value, where) for value in rows[split]] if split else [None] * len(rows)
    grouped = groups.of_rows(groups.rule(cfg), rows)
    items, unlabelled = [], []
    for name, of_row, part, group in zip(rows[image], named.of_row, splits, grouped, strict=True):
        if of_row or named.multi_label:
            items.append(Sample((folder / name).as_posix(), of_row, part, group))
        else:
            unlabelled.append(f"{name} (no label)")
    _check_unique(items, table)
    layout = f"table {table.name}: images '{image}' in {folder}/, {named.how}" + f", split '{split}'" * bool(split)
    return Samples(table.parent, tuple(items), layout, tuple(unlabelled), named.multi_label)


def tables(folder: Path) -> list[Path]:
    return [p for p in visible(folder) if p.suffix.lower() in TABLE_SUFFIXES]


def _find_table(path: Path, name: str | None) -> Path:
    if path.is_file():
        return path
    if name is not None:
        table = path / name
        if not table.is_file():
            raise DataError(f"no table {table}", "data.csv names the CSV or TSV file, relative to data.path")
        return table
    found = tables(path)
    if len(found) != 1:
        names = ", ".join(t.name for t in found) or "none"
        raise DataError(f"{path} should hold one table; found: {names}", "name it: --set data.csv=FILE")
    return found[0]


def _read_table(table: Path) -> Any:
    import pandas as pd

    if table.suffix.lower() == PARQUET:
        return _read_parquet(table)
    separator = TABLE_SUFFIXES.get(table.suffix.lower(), ",")
    try:
        rows = pd.read_csv(table, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as e:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise DataError(f"cannot read the table {table}: {e}") from e
    return rows.fillna("").rename(columns=str.strip)  # rows that end early; "image, label"


def _read_parquet(table: Path) -> Any:
    """The table with every cell as text, as from CSV."""
    import pandas as pd

    try:
        rows = pd.read_parquet(table)
    except ImportError as e:
        raise missing(str(table), "pyarrow", "parquet") from e
    except (OSError, ValueError) as e:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(f"cannot read the table {table}: {e}") from e
    return rows.astype(object).where(rows.notna(), "").map(str).rename(columns=lambda name: str(name).strip())


def _with_slashes(names: list[str], folder: Path) -> list[str]:
    """Paths that a program on Windows wrote, ``cats\\1.jpg``, as every system reads them: ``cats/1.jpg``.

    Elsewhere a backslash may be part of a name: where one of the first such names is there, all stay as they are.
    (Asked of ``os.path``, to which a name that cannot be is no error.)
    """
    written = [name for name in names if "\\" in name]
    literal = (folder / name for name in written[:PROBED_ROWS]) if os.sep == "/" else ()
    if not written or any(os.path.exists(path) for path in literal):  # noqa: PTH110
        return names
    return [name.replace("\\", "/") for name in names]


def _inside(table: Path, wanted: str | None, names: Any) -> PurePosixPath:
    """``_image_folder`` for a table that may name nothing else: checked before and after anything is looked up."""
    inside.check(names, table, wanted)
    folder = _image_folder(table, wanted, names)
    if wanted is None and folder.parts:
        inside.check((f"{folder}/{name}" for name in names), table, None)
    return folder


def _image_folder(table: Path, wanted: str | None, images: Any) -> PurePosixPath:
    """Where the table's image paths start, relative to the table: configured, beside it, or the folder that fits."""
    if wanted is not None:
        return PurePosixPath(wanted)
    here, names = table.parent, list(images.head(PROBED_ROWS))
    if not any((here / name).is_file() for name in names):
        fits = [p.name for p in visible(here) if p.is_dir() and any((p / name).is_file() for name in names)]
        if len(fits) == 1:
            return PurePosixPath(fits[0])
    return PurePosixPath()


def _check_unique(items: list[Sample], table: Path) -> None:
    counts = Counter(s.path for s in items)
    twice = [path for path, n in counts.items() if n > 1]
    if twice:
        raise DataError(f"{table}: {len(twice)} images have more than one row, such as '{twice[0]}'")
