"""Labels from a table: which column is what, where its images are, and its rows as samples."""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
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
    table = _find_table(path, named_table(cfg))
    rows = _read_table(table)
    image = columns.need(rows, cfg.data.image_column, columns.IMAGE_COLUMNS, "data.image_column")
    nameless = [f"row {_number(i)} (no image)" for i, name in rows[image].items() if not name.strip()]
    rows = rows[rows[image].str.strip() != ""]
    if rows.empty:
        raise DataError(f"{table} has no rows")
    given = cfg.data.image_folder
    start = table.parent / (given or "")
    rows = rows.assign(**{image: _with_slashes(_trimmed(list(rows[image]), start), start)})
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
    return Samples(table.parent, tuple(items), layout, (*nameless, *unlabelled), named.multi_label)


def named_table(cfg: Config) -> str | None:
    """The table that the configuration names."""
    return cfg.data.csv


def _number(index: int) -> int:
    """How people count the rows, the header being the first."""
    return index + 2


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
    """The table with every cell as text, "" where there is none, and its rows numbered from 0.

    Raises:
        DataError: if it cannot be read, or it would not be clear which cell belongs to which column.
    """
    rows = _read_parquet(table) if table.suffix.lower() == PARQUET else _read_text(table)
    twice = rows.columns[rows.columns.duplicated()]
    if len(twice):
        raise DataError(f"{table} has two columns '{twice[0]}'", "give each a name of its own")
    return rows


def _read_text(table: Path) -> Any:
    import pandas as pd

    separator = TABLE_SUFFIXES.get(table.suffix.lower(), ",")
    read = partial(pd.read_csv, table, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    try:
        rows = read()
        # Where rows have more cells than the header, pandas takes the first ones for the rows' names, and says nothing.
        extra = 0 if isinstance(rows.index, pd.RangeIndex) else rows.index.nlevels
        if extra and (rows.iloc[:, -extra:].fillna("") == "").all(axis=None):  # only delimiters at the end
            extra, rows = 0, read(usecols=range(len(rows.columns)), index_col=False)
    except (OSError, ValueError) as e:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise DataError(f"cannot read the table {table}: {e}") from e
    if extra:
        raise DataError(
            f"{table}: its rows have more cells than its header has columns ({', '.join(map(str, rows.columns))})",
            "name every column, and put text with a comma in it in quotes",
        )
    return rows.fillna("").rename(columns=str.strip)  # rows that end early; "image, label"


def _read_parquet(table: Path) -> Any:
    import pandas as pd

    try:
        rows = pd.read_parquet(table)
    except ImportError as e:
        raise missing(str(table), "pyarrow", "parquet") from e
    except (OSError, ValueError) as e:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(f"cannot read the table {table}: {e}") from e
    rows = rows.reset_index(drop=list(rows.index.names) == [None])  # a named index is a column to its reader
    return rows.astype(object).where(rows.notna(), "").map(str).rename(columns=lambda name: str(name).strip())


def _with_slashes(names: list[str], folder: Path) -> list[str]:
    """Paths that a program on Windows wrote, ``cats\\1.jpg``, as every system reads them: ``cats/1.jpg``."""
    return _unless_there(names, folder, lambda name: name.replace("\\", "/"))


def _trimmed(names: list[str], folder: Path) -> list[str]:
    """Names without the spaces of ``label, image``."""
    return _unless_there(names, folder, str.strip)


def _unless_there(names: list[str], folder: Path, change: Callable[[str], str]) -> list[str]:
    """The names changed; as they are where one of the first that would change is there by its own name.

    But on Windows, where to look for a path can mean to log in on a server.
    """
    changed = [change(name) for name in names]
    if os.sep == "/":
        own = [name for name, new in zip(names, changed, strict=True) if name != new]
        if any(os.path.exists(folder / name) for name in own[:PROBED_ROWS]):  # noqa: PTH110 - as in `_any_file`
            return names
    return changed


def _inside(table: Path, wanted: str | None, names: Any) -> PurePosixPath:
    """``_image_folder`` for a table that may name nothing else: checked before and after anything is looked up."""
    inside.check(((_number(i), name) for i, name in names.items()), table, wanted)
    folder = _image_folder(table, wanted, names)
    if wanted is None and folder.parts:
        inside.check(((_number(i), f"{folder}/{name}") for i, name in names.items()), table, None)
    return folder


def _image_folder(table: Path, wanted: str | None, images: Any) -> PurePosixPath:
    """Where the table's image paths start, relative to the table: configured, beside it, or the folder that fits."""
    if wanted is not None:
        return PurePosixPath(wanted)
    here, names = table.parent, list(images.head(PROBED_ROWS))
    if not _any_file(here, names):
        fits = [p.name for p in visible(here) if p.is_dir() and _any_file(p, names)]
        if len(fits) == 1:
            return PurePosixPath(fits[0])
    return PurePosixPath()


def _any_file(folder: Path, names: list[str]) -> bool:
    return any(os.path.isfile(folder / name) for name in names)  # noqa: PTH113 - to it a name that cannot be is no error


def _check_unique(items: list[Sample], table: Path) -> None:
    counts = Counter(s.path for s in items)
    twice = [path for path, n in counts.items() if n > 1]
    if twice:
        raise DataError(f"{table}: {len(twice)} images have more than one row, such as '{twice[0]}'")
