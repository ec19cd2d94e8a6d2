"""Load a configuration: schema defaults < the YAML file < flags < ``--set``, checked at once, frozen afterwards.

YAML is read as YAML 1.2 (``1e-3`` is a number, ``no`` a word) and duplicate keys are errors.
"""

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from imgclf.errors import ConfigError, did_you_mean
from imgclf.schema import Config, leaves
from imgclf.untrusted_yaml import parse

LOCAL_FILE = "imgclf.yaml"
EMBEDDED_DEFAULT = "digits"
DEFAULT_ORIGIN = "default"
EMBEDDED_DATA = ("digits",)
NAMED_DATA = "fastai:"
PATHS = ("data.path", "data.split", "data.corrections", "model.weights")  # from the working folder on


@dataclass(frozen=True)
class Override:
    """One value from the command line: ``key`` dotted, ``origin`` the flag it came from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Loaded:
    """A checked configuration, and for every leaf where its value came from."""

    config: Config
    origin: Mapping[str, str]
    source: str


def load(source: str | None = None, overrides: Iterable[Override] = ()) -> Loaded:
    """Merge file and overrides, and check everything at once.

    Args:
        source: A YAML file, the name of an embedded configuration, or None: ``imgclf.yaml`` here if there is one, else
            the schema's defaults when the data is named by an override, else the embedded ``digits``.
        overrides: Flags first, then ``--set``: later ones win.

    Raises:
        ConfigError: with every problem in one message, each under its dotted key.
    """
    overrides = list(overrides)
    path, values = _read(source, overrides)
    origin = dict.fromkeys(leaves(), DEFAULT_ORIGIN)
    problems = _record_origin(values, origin, path)
    plain = _plain(values)
    for item in overrides:
        problems += _apply(plain, item, origin)
    config = _check(plain, origin, problems)
    if origin["augment.size"] == DEFAULT_ORIGIN:
        origin["augment.size"] = origin["augment.sizes"]  # which ends with it
    return Loaded(config, origin, str(path) if path else "schema defaults")


def load_config(source: str | None = None, **settings: Any) -> Config:
    """For Python users: ``load_config("pets", **{"train.epochs": 1})``."""
    return load(source, [Override(k, v, "argument") for k, v in settings.items()]).config


def parse_set(text: str) -> Override:
    """``"train.lr=1e-3"`` as an override; the value is read as YAML."""
    key, equals, raw = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: no '=' in it", "write --set key=value, such as --set train.lr=1e-3")
    return Override(key.strip(), parse(raw, f"--set {key}"), f"--set {key.strip()}")


def embedded() -> dict[str, Path]:
    """The configurations that come with imgclf, by name."""
    here = Path(__file__).parent
    folder = here / "configs" if (here / "configs").is_dir() else here.parent / "configs"
    return {p.stem: p for p in sorted(folder.glob("*.yaml"))}


def dump(config: Config) -> str:
    """The configuration as YAML that loads to the same configuration."""
    stream = io.StringIO()
    writer = YAML()
    writer.width = 110
    writer.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    writer.representer.add_representer(str, _quoted)
    writer.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def _quoted(representer: Any, text: str) -> Any:
    """Characters that YAML takes for line ends, such as U+0085, survive only in double quotes."""
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


def _read(source: str | None, overrides: list[Override]) -> tuple[Path | None, CommentedMap]:
    path = _find(source, overrides)
    if path is None:
        return None, CommentedMap()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read the configuration {path}: {e}", "check the path given to --config") from e
    values = parse(text, str(path))
    if values is None:
        values = CommentedMap()
    if not isinstance(values, CommentedMap):
        raise ConfigError(
            f"{path}: a configuration is a mapping of keys, this is a {type(values).__name__}",
            "`imgclf config init` writes a commented one to start from",
        )
    return path, values


def _find(source: str | None, overrides: list[Override]) -> Path | None:
    data = [o.value for o in overrides if o.key == "data.path"]
    if source is None:
        if Path(LOCAL_FILE).is_file():
            return Path(LOCAL_FILE)
        if data and data[-1] not in EMBEDDED_DATA:
            return None
        source = EMBEDDED_DEFAULT
    if Path(source).is_file():
        return Path(source)
    known = embedded()
    if source in known:
        return known[source]
    raise ConfigError(
        f"no configuration '{source}': neither a file nor an embedded name.{did_you_mean(source, known)}",
        f"embedded: {', '.join(known)}; or give the path of a YAML file",
    )


def _record_origin(values: CommentedMap, origin: dict[str, str], path: Path | None, prefix: str = "") -> list[str]:
    """Note file and line of each leaf; return a problem for each key the schema does not have."""
    problems = []
    known = leaves()
    sections = {k.split(".")[0] for k in known if "." in k}
    for name, value in values.items():
        key = f"{prefix}{name}"
        line = _line(values, name)
        if key in known:
            origin[key] = f"{path}:{line}"
        elif key in sections and isinstance(value, CommentedMap):
            problems += _record_origin(value, origin, path, f"{key}.")
        elif key in sections:
            if value is None:  # a section whose keys are all commented out
                continue
            problems.append(f"{key}: is a section with keys below it, not a value ({path}, line {line})")
        else:
            problems.append(f"{key}: there is no such key ({path}, line {line}).{did_you_mean(key, known)}")
    return problems


def _line(values: CommentedMap, name: Any) -> int:
    """The line of a key; of its mapping for a key merged in with ``<<``."""
    places = values.lc.data or {}
    return int(places[name][0] if name in places else values.lc.line) + 1


def _apply(plain: dict[str, Any], item: Override, origin: dict[str, str]) -> list[str]:
    known = leaves()
    if item.key not in known:
        return [f"{item.key}: there is no such key ({item.origin}).{did_you_mean(item.key, known)}"]
    *sections, leaf = item.key.split(".")
    target = plain
    for name in sections:
        if target.get(name) is None:
            target[name] = {}
        if not isinstance(target[name], dict):
            return []
        target = target[name]
    target[leaf] = _plain(item.value)
    origin[item.key] = item.origin
    return []


def _check(plain: dict[str, Any], origin: Mapping[str, str], problems: list[str]) -> Config:
    plain = {"data": {}, **{k: v for k, v in plain.items() if v is not None}}
    for key in PATHS:
        section, leaf = key.split(".")
        values = plain.get(section)
        if isinstance(values, dict) and isinstance(values.get(leaf), str):
            values[leaf] = _absolute(values[leaf])
    try:
        config = Config.model_validate(plain)
    except ValidationError as e:
        raise _error(problems + _describe(e, origin, plain)) from e
    if problems:
        raise _error(problems)
    return config


def _absolute(path: str) -> str:
    """Relative paths are relative to the working folder; a stored configuration must not depend on it."""
    if not path or path in EMBEDDED_DATA or path.startswith(NAMED_DATA):
        return path
    return str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111 - pathlib's fails for a user there is not


def _describe(error: ValidationError, origin: Mapping[str, str], plain: dict[str, Any]) -> list[str]:
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        parts = [str(p) for p in item["loc"]]
        inside_a_list = len(parts) > 2  # a stage, of which _record_origin knows nothing
        if item["type"] in ("extra_forbidden", "model_type") and not inside_a_list:
            continue  # reported by _record_origin, with its line and the closest key
        key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in origin), ".".join(parts))
        if key == "data.path" and item["type"] == "missing":
            text = "where are the images? (--data PATH)"
        elif item["type"] == "value_error":
            key, text = "", str(item["ctx"]["error"])
        else:
            said = item["msg"].replace("valid tuple", "list")  # what it is in YAML
            # The place in a list or a mapping; what pydantic calls the kinds it tried says nothing to a user.
            place = "" if item["input"] == _value(plain, key) else ".".join(parts)[len(key) + 1 :]
            within = f"{place}: " if place else ""
            text, got = f"{within}{said}", f", got {item['input']!r} ({origin.get(key, DEFAULT_ORIGIN)})"
            others = lines.setdefault(key, [])
            if others and others[-1].endswith(got):  # the same value was tried as another kind
                others[-1], text = others[-1].removesuffix(got), text.removeprefix("Input should be ")
                others[-1] += f" or {text}{got}"
                continue
            text += got
        lines.setdefault(key, []).append(text)
    return [f"{key}: {' - or - '.join(texts)}" if key else texts[0] for key, texts in lines.items()]


def _value(plain: dict[str, Any], key: str) -> Any:
    """What a configuration has at a dotted key; None where there is no such place."""
    at: Any = plain
    for name in key.split("."):
        at = at.get(name) if isinstance(at, dict) else None
    return at


def _error(problems: list[str]) -> ConfigError:
    head = (
        "the configuration has a problem" if len(problems) == 1 else f"the configuration has {len(problems)} problems"
    )
    return ConfigError("\n  ".join([f"{head}:", *problems]), "`imgclf config show` lists every key and its value")


def _plain(value: Any) -> Any:
    """ruamel's round-trip types as plain Python ones."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
