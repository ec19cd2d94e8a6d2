"""Which column of a table is what: by the configured name, else by a customary one."""

from typing import Any

from imgclf.data.folders import SPLIT_FOLDERS
from imgclf.errors import DataError, did_you_mean

SPLIT_VALUES = {
    **SPLIT_FOLDERS,
    **dict.fromkeys(("true", "1", "1.0"), "valid"),
    **dict.fromkeys(("false", "0", "0.0"), "train"),
}
IMAGE_COLUMNS = ("image", "fname", "filename", "file_name", "file", "path", "image_path", "filepath")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "tags")
SPLIT_COLUMNS = ("is_valid", "valid", "split")


def find(rows: Any, wanted: str, known: tuple[str, ...]) -> str | None:
    """The configured column, else the only one with a customary name; None: there is no such column, or several."""
    if wanted in rows.columns:
        return wanted
    candidates = [str(c) for c in rows.columns if c.lower() in known]
    return candidates[0] if len(candidates) == 1 else None


def need(rows: Any, wanted: str, known: tuple[str, ...], key: str) -> str:
    """As ``find``.

    Raises:
        DataError: if there is no such column; it names ``key``, which chooses it, and all columns there are.
    """
    found = find(rows, wanted, known)
    if found is None:
        raise DataError(
            f"the table has no column '{wanted}' ({key}).{did_you_mean(wanted, rows.columns)}",
            f"its columns: {', '.join(map(str, rows.columns))}; set {key}",
        )
    return found


def split_column(rows: Any, wanted: str | None) -> str | None:
    """The column with each row's split, if there is one."""
    if wanted is not None:
        return need(rows, wanted, (), "data.valid_column")
    return find(rows, "", SPLIT_COLUMNS)


def split_value(value: str, where: str) -> str | None:
    """``train``, ``valid`` or ``test``; None: the row does not say.

    Raises:
        DataError: for any other word; it names ``where``.
    """
    text = str(value).strip().lower()
    if text and text not in SPLIT_VALUES:
        raise DataError(f"{where}: '{value}' is no split", "use true/false (true: validation) or train/valid/test")
    return SPLIT_VALUES.get(text)
