"""`imgclf config init | show | check | schema`"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf.cli.options import Settings, command
from imgclf.console import Terminal, table
from imgclf.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True, help="Configuration: a commented file to start from, every value and where it came from."
)


@app.command("init")
@command
def init_cli(
    terminal: Terminal,
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("imgclf.yaml"),
    data: Annotated[str, typer.Option("--data", "-d", help="Where the images are.")] = "path/to/photos",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented configuration with every key and its default.

    Example: [bold]imgclf config init imgclf.yaml --data ~/photos[/]
    """
    from imgclf.runs import write_text
    from imgclf.starter import starter

    if path.exists() and not force:
        raise ConfigError(f"{path} exists already", f"imgclf config init {path} --force overwrites it")
    try:
        write_text(path, starter(data))
    except OSError as e:
        raise ConfigError(f"cannot write {path}: {e.strerror}", "imgclf config init FILE") from e
    terminal.result({"path": str(path)}, str(path))
    terminal.note(f"next: imgclf config check -c {path}   and   imgclf train -c {path}")


@app.command("show")
@command
def show_cli(settings: Settings) -> None:
    """Every value after merging, and where it came from.

    Example: [bold]imgclf config show -c pets --epochs 5[/]
    """
    from imgclf.schema import flat

    loaded = settings.load()
    values = flat(loaded.config.model_dump(mode="json"))
    data = {key: {"value": values[key], "origin": origin} for key, origin in loaded.origin.items()}
    rows = [[key, _text(item["value"]), item["origin"]] for key, item in data.items()]
    settings.terminal.result(data, table(None, ["key", "value", "from"], rows))


@app.command("check")
@command
def check_cli(settings: Settings) -> None:
    """Check a configuration without using it.

    Example: [bold]imgclf config check -c imgclf.yaml[/]
    """
    loaded = settings.load()
    settings.terminal.result({"source": loaded.source, "valid": True}, f"{loaded.source}: valid")


@app.command("schema")
@command
def schema_cli(terminal: Terminal) -> None:
    """The JSON schema of a configuration, for editors.

    Example: [bold]imgclf config schema > imgclf.schema.json[/]
    """
    from imgclf.schema import Config

    found = Config.model_json_schema()
    terminal.result(found, json.dumps(found, indent=2))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
