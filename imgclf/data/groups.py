"""Which images belong together, so that a split does not part them."""

import re
from dataclasses import replace
from typing import Any

from imgclf.data.samples import Samples
from imgclf.errors import ConfigError, DataError
from imgclf.schema import Config


def rule(cfg: Config) -> str | None:
    """The configured column or pattern."""
    return cfg.data.group_by


def of_rows(wanted: str | None, rows: Any) -> list[str | None]:
    """The group of each row of a table that has the wanted column; None: in no group.

    Raises:
        DataError: if the column is empty.
    """
    if wanted is None or wanted not in rows.columns:
        return [None] * len(rows)
    found = [str(cell).strip() or None for cell in rows[wanted]]
    if not any(found):
        raise DataError(f"the column '{wanted}' (data.group_by) names no group in any row", "leave data.group_by out")
    return found


def by_pattern(wanted: str, samples: Samples) -> Samples:
    """Samples with group 1 of a pattern on their path, unless a column of their table has said it.

    Raises:
        ConfigError, DataError: if the pattern is none, or fits no path.
    """
    if not any(s.group for s in samples.items):
        samples = replace(samples, items=_matched(wanted, samples))
    n, alone = len({s.group for s in samples.items} - {None}), sum(s.group is None for s in samples.items)
    said = f"; {n} groups by {wanted}" + f" ({alone} images in none)" * bool(alone)
    return replace(samples, layout=samples.layout + said)


def _matched(wanted: str, samples: Samples) -> tuple[Any, ...]:
    try:
        pattern = re.compile(wanted)
    except re.error as e:
        raise ConfigError(f"data.group_by is neither a column nor a regular expression: {e}: {wanted!r}") from e
    matches = [(s, pattern.search(s.path)) for s in samples.items]
    first = samples.items[0].path if samples.items else ""
    if samples.items and not any(m for _, m in matches):
        raise DataError(
            f"data.group_by: {wanted!r} is no column and matches no path; the first path is '{first}'",
            "name a column of the table, or a pattern whose group 1 names the group",
        )
    if pattern.groups < 1:
        raise ConfigError(
            f"data.group_by has no group: {wanted!r}", "put what names the group in brackets: '^(p\\d+)_'"
        )
    return tuple(replace(s, group=(m.group(1) or None) if m else None) for s, m in matches)
