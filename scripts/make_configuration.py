"""Write docs/configuration.md from the schema, the command line's options and the embedded configurations.

python scripts/make_configuration.py             write the page
python scripts/make_configuration.py --check     exit code 1 if the page is not what this would write
"""

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
TARGET = ROOT / "docs" / "configuration.md"
WIDTH = 120

HEAD = """# Configuration

*Written by `scripts/make_configuration.py` from the code; do not edit by hand.*

A run is described completely by the keys on this page. Only `data.path` has no default.

## Three ways to set a key

```bash
imgclf train -d ~/photos --epochs 5                         # a flag: a short name of a key
imgclf train -d ~/photos --set augment.max_rotate=30        # any key, as often as needed
imgclf train -c my.yaml                                     # a file
```

Later ones win: **defaults < the file < flags < `--set`**. The file is the first of these that applies:

1. what `--config` names: a file, or one of the [embedded configurations](#embedded-configurations);
2. `imgclf.yaml` in the working folder, if there is one;
3. none, if `--data` names your own images: the defaults below apply;
4. the embedded `digits`.

`imgclf config init` writes a file with every key, its default and a comment. Keep the keys you change; the others may
go. The value after `--set KEY=` is read as YAML: `null`, `true`, `1e-3`, `[256, 128]`.

```bash
imgclf config init my.yaml --data ~/photos
imgclf config check -c my.yaml
imgclf config show -c my.yaml --epochs 5
imgclf config schema > imgclf.schema.json
```

`config show` prints every value and where it came from: `default`, a file with its line, a flag, or `--set`.
`config check` validates keys and values and looks at no data. `config schema` gives a JSON schema for editors that
complete and check YAML.

- A key that does not exist and a value that cannot be right are errors (exit code 2), all reported together, with the
  closest key that exists. So are a key that is there twice and a file that is not YAML.
- Files are read as YAML 1.2: `1e-3` is a number, `no` and `off` are words, only `true` and `false` are truth values.
- Relative paths in `data.path`, `data.split`, `data.corrections` and `model.weights` are relative to the working
  folder, also when they stand in a file. A run stores them as absolute paths.
- `config.yaml` in a run folder holds every value of that run: `imgclf train -c runs/NAME/config.yaml` repeats it.

## Flags that set a key

{flags}

## Every key
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD.replace("{flags}", _flags()), *_sections(), *_embedded()]).rstrip() + "\n"


def _flags() -> str:
    from typer.main import get_command

    from imgclf.cli.app import _register, app
    from imgclf.cli.options import KEYS

    _register()
    root: Any = get_command(app)
    params = {p.name: p for p in root.commands["train"].params}
    rows = [[f"`{', '.join(params[name].opts)}`", f"`{key}`"] for name, key in KEYS.items()]
    return _table(["flag", "key"], rows)


def _sections() -> list[str]:
    """A table for the keys without a section, then one for each section."""
    from imgclf.schema import Config

    schema = Config.model_json_schema()
    plain = {k: v for k, v in schema["properties"].items() if _reference(v) is None}
    parts = ["### Without a section\n", _keys(plain, "")]
    for name, value in schema["properties"].items():
        reference = _reference(value)
        if reference is not None:
            section = schema["$defs"][reference]
            parts += [
                f"\n### {name}\n",
                _plain(section["description"]) + "\n",
                _keys(section["properties"], f"{name}."),
            ]
    return parts


def _reference(value: dict[str, Any]) -> str | None:
    found = value.get("$ref") or next((part["$ref"] for part in value.get("allOf", [])), None)
    return None if found is None else str(found).rsplit("/", 1)[-1]


def _keys(properties: dict[str, Any], prefix: str) -> str:
    rows = [
        [f"`{prefix}{name}`", kind(value), _default(value), value.get("description", "")]
        for name, value in properties.items()
    ]
    return _table(["key", "type", "default", "what it does"], rows)


def kind(value: dict[str, Any]) -> str:
    """A JSON schema's type in words: ``whole number from 2``, ``skip or fail``."""
    if "anyOf" in value:
        several = [
            part for part in value["anyOf"] if "enum" in part and "const" not in part
        ]  # older pydantic says both
        plain = not several and not any(part.get("type") == "array" for part in value["anyOf"])
        return (" or " if plain else ", or ").join(kind(part) for part in value["anyOf"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        *others, last = [f"`{choice}`" for choice in value["enum"]]
        return f"{', '.join(others)} or {last}"
    if value["type"] == "array":
        return _list(value)
    if value["type"] == "object":
        return f"names with a {kind(value['additionalProperties'])} each"
    kinds = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "null": "null",
    }
    return kinds[value["type"]] + _bounds(value)


def _list(value: dict[str, Any]) -> str:
    if "prefixItems" in value:
        items = value["prefixItems"]
        return f"list of {len(items)} ({kind(items[0])})"
    if "$ref" in value["items"]:  # a section of its own, whose keys the description names
        return "list of mappings"
    return f"list ({kind(value['items'])})"


def _bounds(value: dict[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return "".join(f" {word} {_short(value[key])}" for key, word in words.items() if key in value)


def _short(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def _default(value: dict[str, Any]) -> str:
    if "default" not in value:
        return "none: must be given"
    default = value["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _embedded() -> list[str]:
    from imgclf.config import embedded

    parts = ["\n## Embedded configurations\n", "Each can be named with `--config`: `-c pets`.\n"]
    for name, path in embedded().items():
        parts += [f"### {name}.yaml\n", _told(path.read_text(encoding="utf-8"))]
    return parts


def _told(text: str) -> str:
    """An embedded file: the command it begins with, its comment, its keys."""
    lines = text.splitlines()
    n = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    first, *rest = [line.lstrip("#").strip() for line in lines[:n]]
    match = re.fullmatch(r"(imgclf .+?)(?:\s{2,}\((.+)\))?", first)
    if match is None:
        raise ValueError(f"an embedded configuration begins with the command that runs it, not with: {first}")
    note = f"{match[2][0].upper()}{match[2][1:]}. " if match[2] else ""
    said = textwrap.fill(note + " ".join(line for line in rest if line), WIDTH, break_on_hyphens=False)
    keys = "\n".join(lines[n:])
    return f"```bash\n{match[1]}\n```\n\n{said}\n\n```yaml\n{keys}\n```\n"


def _plain(text: str) -> str:
    """A docstring's double backticks as Markdown's single ones."""
    return text.replace("``", "`")


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str]) -> int:
    text = page()
    if arguments == ["--check"]:
        there = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
        if there != text:
            print(f"{TARGET.relative_to(ROOT)} is stale: python scripts/make_configuration.py", file=sys.stderr)
        return int(there != text)
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    TARGET.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
