"""YAML that may come from anywhere: read whole and soon, or refused with a word."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from imgclf.errors import ConfigError

MOST_CHARACTERS = 1_000_000
MOST_DEEP = 100  # brackets that are open at once: ruamel's time grows with their square
MOST_VALUES = 100_000  # after every alias is written out
ALIAS = re.compile(r"&[^\s&]")


def parse(text: str, where: str, kind: Literal["rt", "safe"] = "rt") -> Any:
    """The values.

    Args:
        where: Names the text, for messages.
        kind: ruamel's: with comments and lines, or plain.

    Raises:
        ConfigError: for what is no YAML, nested too deep, too long, or grows beyond all bounds by its aliases.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{where}: {len(text):,} characters are more than the limit of {MOST_CHARACTERS:,}")
    try:
        _check_depth(text)
        if ALIAS.search(text):
            _check_aliases(text)
        values = YAML(typ=kind, pure=True).load(text)
        _check_text(values)
        return values
    except MarkedYAMLError as e:
        line = f", line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise ConfigError(f"{where}{line}: {e.problem}", "see the YAML near that line") from e
    except RecursionError as e:
        raise ConfigError(f"{where}: not valid YAML: nested too deep") from e
    except (YAMLError, ValueError, AttributeError, TypeError, IndexError, KeyError, AssertionError) as e:
        # ruamel lets some of them through, as on a mapping that merges itself.
        raise ConfigError(f"{where}: not valid YAML: {e}") from e


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_DEEP:
            raise ValueError("nested too deep")


def _check_text(values: Any) -> None:
    """Refuse half a character of a pair, as ``\\ud800`` makes one: it can be written nowhere."""
    if isinstance(values, str):
        values.encode()
    elif isinstance(values, Mapping):
        for key, value in values.items():
            _check_text(key)
            _check_text(value)
    elif isinstance(values, list | tuple | set):
        for value in values:
            _check_text(value)


def _check_aliases(text: str) -> None:
    """Refuse aliases of what they are in, and such as multiply: ten lines can stand for billions of values."""
    sizes: dict[str, int] = {}
    above: list[tuple[str | None, int]] = []  # of each collection that is open its anchor, and the values before it
    values = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, CollectionEndEvent):
            anchor, before = above.pop()
            if anchor:
                sizes[anchor] = values - before
        elif isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in above):
                raise ValueError(f"*{event.anchor} is inside of what it stands for")
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, NodeEvent):
            values += 1
            if isinstance(event, CollectionStartEvent):
                above.append((event.anchor, values - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if values > MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
