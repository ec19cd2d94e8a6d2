"""The commented configuration that `imgclf config init` writes: the schema, told as YAML."""

import json
import textwrap
from typing import Any

from imgclf.schema import Config, DataConfig, Section

WIDTH = 100


def starter(data: str) -> str:
    """YAML text with every key, its default and its description.

    Args:
        data: The value of ``data.path``, the one key without a default.
    """
    head = "# imgclf configuration: every key with its default. `imgclf train -c THIS-FILE` uses it.\n"
    return head + "\n".join(_section(Config, Config(data=DataConfig(path=data)), 0)) + "\n"


def _section(kind: type[Section], values: Section, depth: int) -> list[str]:
    pad, lines = "  " * depth, []
    for name, field in kind.model_fields.items():
        value = getattr(values, name)
        comment = textwrap.wrap(field.description or "", WIDTH - len(pad))
        lines += ["" if depth == 0 else None, *(f"{pad}# {line}" for line in comment)]
        if isinstance(value, Section):
            lines += [f"{pad}{name}:", *_section(type(value), value, depth + 1)]
        else:
            lines.append(f"{pad}{name}: {_yaml(value)}")
    return [line for line in lines if line is not None]


def _yaml(value: Any) -> str:
    """A leaf as YAML; JSON is YAML 1.2."""
    return json.dumps(value, ensure_ascii=False)
