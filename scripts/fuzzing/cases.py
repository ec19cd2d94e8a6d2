"""One trial of the fuzzer: bytes after small accidents, JSON with wrong values, and a folder of its own."""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKENS = [
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
        b"\r\n",
        b"\n",
        b"\t",
        b"'",
        b'"',
        b"{",
        b"[",
        b",",
        b";",
        b":",
    ),
    *(b"- ", b"&a *a", b"!!python/object:os.system", b"..", b"/", b"nan", b"1e999", b"-1", b"9" * 30, b"0x10", b"true"),
    *(b"null", b"~", b"%", b"{{}}"),
]
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 1 << 31, 1 << 63, 10**30, -0.5, 1e308, float("nan"), float("inf")),
    *("", "nan", "a" * 500, "\0", "é", "../../x", "/etc/passwd", "C:\\x", "os:system", "\ud800"),
    *([], {}, [[]], [None], {"a": 1}, ["a", "a"], [1] * 50, {"layer": "Linear"}, {"layer": "Code"}),
]


@dataclass
class Case:
    """One trial: a source of chance, and an empty folder of its own."""

    random: random.Random
    folder: Path
    pool: dict[str, list[Any]] = field(default_factory=dict)  # what reached new code before, by what it was made of
    made: list[tuple[str, Any]] = field(default_factory=list)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def damaged(self, data: bytes) -> bytes:
        """The bytes after one to four small accidents or attacks."""
        return bytes(self._grown(data, self._accident, 4))

    def _grown(self, seed: Any, step: Callable[[Any], Any], most: int) -> Any:
        """One to ``most`` steps from the seed, or from what was made of it before and reached new code."""
        key = f"{type(seed).__name__} {len(seed)}"
        found = self.pool.get(key, ())
        value = self.random.choice(found) if found and self.random.random() < 0.6 else seed
        for _ in range(self.random.randint(1, most)):
            value = step(value)
        self.made.append((key, value))
        return value

    def _accident(self, data: bytes) -> bytes:
        pick, at = self.random.randrange(7), self.random.randint(0, len(data))
        end = min(len(data), at + self.random.choice((1, 2, 8, 100)))
        if pick == 0:
            return data[:at]
        if pick == 1:
            return data[:at] + data[end:]
        if pick == 2:
            return data[:end] + data[at:end] * self.random.choice((1, 3, 50)) + data[end:]
        if pick == 3:
            return data[:at] + self.random.choice(TOKENS) + data[at:]
        if pick == 4 and at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :]
        return data[:at] + self.random.randbytes(end - at) + data[end:]

    def changed(self, tree: Any) -> Any:
        """JSON with one to three of its values replaced, removed, doubled or nested deep."""
        return self._grown(copy.deepcopy(tree), lambda value: self._change(copy.deepcopy(value)), 3)

    def _change(self, tree: Any) -> Any:
        if isinstance(tree, dict | list) and tree and self.random.random() < 0.85:
            key: Any = self.random.choice(list(tree)) if isinstance(tree, dict) else self.random.randrange(len(tree))
            pick = self.random.random()
            if pick < 0.1:
                del tree[key]
            elif pick < 0.15 and isinstance(tree, dict):
                tree[self.random.choice(("x", "layers", "schema", ""))] = copy.deepcopy(tree[key])
            elif pick < 0.2 and isinstance(tree, list):
                tree += copy.deepcopy(tree) * self.random.choice((1, 30))
            else:
                tree[key] = self._change(tree[key])
            return tree
        if self.random.random() < 0.05:
            return _nested(self.random.choice((3, 100, 5000)))
        if isinstance(tree, int | float) and self.random.random() < 0.3:
            return tree * self.random.choice((-1, 2, 1000, 0.5))
        return copy.deepcopy(self.random.choice(VALUES))


class Nested(str):
    """Text that stands for JSON too deep for Python's own writer."""


def _nested(depth: int) -> Any:
    return Nested("[" * depth + "]" * depth)


def as_json(tree: Any) -> str:
    """As JSON; what is nested too deep is put in as text, and sometimes NaN is among it."""
    deep: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Nested):
            deep.append(str(value))
            return f"\1{len(deep) - 1}\1"
        if isinstance(value, dict):
            return {key: mark(v) for key, v in value.items()}
        return [mark(v) for v in value] if isinstance(value, list) else value

    text = json.dumps(mark(tree))
    for i, inner in enumerate(deep):
        text = text.replace(f'"\\u0001{i}\\u0001"', inner)
    return text
