"""The options commands share. Each is only a short name of a configuration key.

A command that takes ``settings: Settings`` gets all of them, one that takes ``terminal: Terminal`` those about output:
``command`` writes them into its signature, where Typer looks for options.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf import ranks
from imgclf.cli import completion
from imgclf.console import Terminal

if TYPE_CHECKING:
    from imgclf.config import Loaded

CONFIG_PANEL = "Configuration"
OUTPUT_PANEL = "Output"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")

JsonOption = Annotated[
    bool, typer.Option("--json", help="The result as one JSON document on stdout.", rich_help_panel=OUTPUT_PANEL)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.", rich_help_panel=OUTPUT_PANEL)
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error, and warnings.", rich_help_panel=OUTPUT_PANEL)
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", help="Where run folders are.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="auto, cpu, cuda, cuda:N or mps.", autocompletion=completion.words(*completion.DEVICES)
    ),
]
RunArgument = Annotated[
    str | None,
    typer.Argument(help="Run folder or name; default: the newest finished run.", autocompletion=completion.run_names),
]
ModelArgument = Annotated[
    str, typer.Argument(help="Run, bundle folder, or exported file.", autocompletion=completion.run_names)
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Run the code that a custom head names or a model file holds.", show_default=False),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images per step.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="fp32; bf16 or fp16 (GPU) may be quicker, and change an answer's third digit.",
        autocompletion=completion.words("fp32", "bf16", "fp16"),
    ),
]
AbstainOption = Annotated[
    float | None,
    typer.Option("--abstain", metavar="RATE", help="Answer 'unknown' where more than RATE of the answers were wrong."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Threads that decode images; default: the cores, at most 8.")
]

# Parameter of the options below -> the configuration key it is short for.
KEYS = {
    "data": "data.path",
    "arch": "model.arch",
    "epochs": "train.epochs",
    "freeze_epochs": "train.freeze_epochs",
    "batch_size": "data.batch_size",
    "lr": "train.lr",
    "size": "augment.size",
    "presize": "augment.presize",
    "seed": "seed",
    "device": "train.device",
    "devices": "train.devices",  # of `train` alone
    "offline": "offline",
}


@dataclass(frozen=True)
class Settings:
    """The shared options as given, and the terminal they ask for."""

    config: str | None
    flags: dict[str, Any]
    assignments: list[str]
    terminal: Terminal

    @property
    def given(self) -> dict[str, Any]:
        """The flags that were given; ``--seed 0`` is one."""
        return {name: value for name, value in self.flags.items() if value is not None and value is not False}

    def load(self, more: Iterable[Any] = ()) -> "Loaded":
        """The configuration: file, then flags, then ``--set``, then ``more``."""
        from imgclf.config import Override, load, parse_set

        given = [
            Override(KEYS[name], float(value) if _is_number(name, value) else value, f"--{name.replace('_', '-')}")
            for name, value in self.given.items()
        ]
        return load(self.config, [*given, *map(parse_set, self.assignments), *more])


def _is_number(name: str, value: Any) -> bool:
    """Whether ``--lr``, a number or ``auto``, is the number."""
    if name != "lr":
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def picture(*names: str) -> Any:
    """The option that names a picture to write."""
    return typer.Option(*names, help="Where to write the picture.", callback=_writable_picture)


def _writable_picture(context: typer.Context, path: Path | None) -> Path | None:
    """Refuse a picture file that could not be written, before any work is done for it; None: none is named."""
    if path is None or context.resilient_parsing:  # a shell asks what to offer
        return None
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise typer.BadParameter(f"'{path}' should end in one of {', '.join(PICTURE_SUFFIXES)}")
    if path.is_dir():
        raise typer.BadParameter(f"'{path}' cannot be written: it is a folder")
    _writable_folder(path.parent)
    return path


def folder(*names: str, help: str) -> Any:  # noqa: A002
    """The option that names a folder to write into."""
    return typer.Option(*names, help=help, callback=_writable_folder)


def _writable_folder(path: Path | None) -> Path | None:
    """Refuse a folder that is a file or cannot be made, before any work is done for it; make nothing yet."""
    if path is None:
        return None
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise typer.BadParameter(f"'{path}' cannot be written: '{there}' is no folder that can be written to")
    return path


def _option(*names: str, help: str, **more: Any) -> Any:  # noqa: A002
    return typer.Option(*names, help=help, rich_help_panel=CONFIG_PANEL, show_default=False, **more)


_Config = Annotated[
    str | None,
    _option("--config", "-c", help="A YAML file, or the name of an embedded one.", autocompletion=completion.configs),
]
_Arch = Annotated[
    str | None,
    _option(
        "--arch",
        "-a",
        help="resnet18, 34, 50, 101 or 152; see `imgclf archs`.",
        autocompletion=completion.archs,
    ),
]
_Device = Annotated[
    str | None,
    _option("--device", help="auto, cpu, cuda, cuda:N or mps.", autocompletion=completion.words(*completion.DEVICES)),
]
_Assignments = Annotated[
    list[str] | None,
    _option("--set", metavar="KEY=VALUE", help="Any key; may be repeated.", autocompletion=completion.assignments),
]


def _shared(
    config: _Config = None,
    data: Annotated[str | None, _option("--data", "-d", help="Folder or table of images, or 'digits'.")] = None,
    arch: _Arch = None,
    epochs: Annotated[int | None, _option("--epochs", "-e", help="Epochs with the body training.")] = None,
    freeze_epochs: Annotated[int | None, _option("--freeze-epochs", help="Epochs before, the head alone.")] = None,
    batch_size: Annotated[int | None, _option("--batch-size", "-b", help="Images per training step.")] = None,
    lr: Annotated[str | None, _option("--lr", help="Highest learning rate, or 'auto': find it.")] = None,
    size: Annotated[int | None, _option("--size", help="Side of the model's input, pixels.")] = None,
    presize: Annotated[int | None, _option("--presize", help="Side before augmentation, pixels.")] = None,
    seed: Annotated[int | None, _option("--seed", help="Same seed, same result.")] = None,
    device: _Device = None,
    offline: Annotated[bool, _option("--offline", help="Never use the network.")] = False,
    assignments: _Assignments = None,
) -> None:
    """Only its signature is used."""


def _output(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """Only its signature is used; `cli.app` looks for ``--debug`` itself."""


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function that takes ``settings: Settings``, or ``terminal: Terminal``, be a Typer command."""
    wanted = inspect.signature(function).parameters
    own = [p for name, p in wanted.items() if name not in ("settings", "terminal")]
    shared = dict(inspect.signature(_shared).parameters) if "settings" in wanted else {}
    shared |= inspect.signature(_output).parameters

    @functools.wraps(function)
    def wrapper(**values: Any) -> Any:
        terminal = Terminal(values.pop("json"), values.pop("quiet") or not ranks.is_first())
        values.pop("debug")
        if "settings" not in wanted:
            return function(terminal=terminal, **values)
        flags = {name: values.pop(name) for name in KEYS if name in shared}
        settings = Settings(values.pop("config"), flags, values.pop("assignments") or [], terminal)
        return function(settings=settings, **values)

    positional = [p for p in own if p.default is inspect.Parameter.empty]
    optional = [p for p in own if p.default is not inspect.Parameter.empty]
    merged = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*positional, *optional, *shared.values()]]
    wrapper.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    return wrapper
