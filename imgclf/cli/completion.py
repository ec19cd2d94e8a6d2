"""What the shell offers at the Tab key: names of runs, classes, architectures, configurations, keys and their values.

Nothing here imports torch or writes a file, as it runs at every Tab. What cannot be read offers nothing.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from glob import escape, glob
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from imgclf import runs
from imgclf.errors import EXIT_BUG, ModelError

WISH = "_IMGCLF_COMPLETE"  # the variable by which a shell asks; Typer's, as are the two below
BASH = "complete_bash"
BREAKS = re.compile("[=:]+")  # of COMP_WORDBREAKS: bash makes words of their own of these
HELP_LENGTH = 80

# The registries that hold these import torch, which takes seconds. A test compares.
ARCHS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
FORMATS = ("onnx", "safetensors", "openvino", "torch-export", "torchscript", "pkl")
METRICS = (
    "error_rate", "accuracy", "top_5_accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro",
    "cohen_kappa", "matthews", "accuracy_multi", "average_precision", "f1_micro", "hamming_loss",
)  # fmt: skip
DEVICES = ("auto", "cpu", "cuda", "mps")

Offers = list[str] | list[tuple[str, str]]


def wished() -> bool:
    """Whether a shell asks what to offer, rather than a person for a command."""
    return os.environ.get(WISH, "").startswith("complete_")


def answer(answer_of_typer: Callable[[], object]) -> int:
    """Let Typer answer the shell; returns the exit code, by which fish knows whether to offer files.

    bash makes three words of ``train.loss=fo``, of which the second is ``=``, and replaces the last one. For it they
    are put together, and the answer is taken apart.
    """
    bash = os.environ[WISH] == BASH
    before = _put_together() if bash else ""
    said = io.StringIO()
    try:
        # The line that someone is typing is no place for a message, let alone a traceback.
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            answer_of_typer()
    except SystemExit as end:
        lines = said.getvalue()
        if bash:
            lines = "".join(f"{_quoted(offer.removeprefix(before))}\n" for offer in lines.splitlines() if offer)
        typer.echo(lines, nl=False)
        return end.code if isinstance(end.code, int) else 0
    except Exception:
        return EXIT_BUG
    return EXIT_BUG


def _put_together() -> str:
    """Mend bash's words in the environment; returns how much of the last word bash will not replace."""
    text = os.environ.get("COMP_WORDS", "")
    between = "\n" if "\n" in text else " "
    whole, before = together(text.split(between)[: int(os.environ.get("COMP_CWORD", 0)) + 1])
    os.environ.update(COMP_WORDS=between.join(whole), COMP_CWORD=str(len(whole) - 1))
    return before


def together(words: list[str]) -> tuple[list[str], str]:
    """bash's words, those parted at ``=`` and ``:`` made one; and how much of the last is not for bash to replace."""
    whole: list[str] = []
    for here, word in zip(words, ["", *words], strict=False):
        if whole and (BREAKS.fullmatch(here) or BREAKS.fullmatch(word)):
            whole[-1] += here
        else:
            whole.append(here)
    return whole, whole[-1] if BREAKS.fullmatch(words[-1]) else whole[-1].removesuffix(words[-1])


def _quoted(text: str) -> str:
    """For bash, which inserts what it gets as it is."""
    return re.sub(r"([^\w@%+=:,./~-])", r"\\\1", text)


def run_names(context: typer.Context) -> Offers:
    """The runs under ``--runs-dir`` with their state."""
    return list(_runs(context))


def run_names_and_latest(context: typer.Context) -> Offers:
    """For ``--resume``."""
    words = [(runs.LATEST, "the newest that is not finished"), (runs.AUTO, "that of --name, begun if it is not there")]
    return [*words, *_runs(context)]


def _runs(context: typer.Context) -> Iterator[tuple[str, str]]:
    for run in runs.all_runs(_runs_dir(context)):
        try:
            yield run.name, str(run.manifest()["status"])
        except ModelError:  # a broken one is no use to any command
            continue


def _runs_dir(context: typer.Context) -> Path:
    return Path(context.params.get("runs_dir") or "runs")


def class_names(context: typer.Context) -> Offers:
    """The classes of the model that stands before on the line: a run, a bundle, or an exported file."""
    # Where an option still waits for its value, Typer leaves the arguments before it unassigned.
    model = context.params.get("model") or next(iter(context.args), None)
    if model is None:
        return []
    places = (Path(model), _runs_dir(context) / model)
    files = [folder / runs.RECORD for folder in places] + [Path(f"{model}.json"), Path(model).parent / runs.RECORD]
    for file in files:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))["classes"]
            return [name for name in found if isinstance(name, str)]
        except (OSError, ValueError, LookupError, TypeError):  # not there, or not a record
            continue
    return []


def archs(incomplete: str) -> Offers:
    """torchvision's, and where none of those fits, timm's."""
    own = [name for name in ARCHS if name.startswith(incomplete)]
    return own or [name for name in _timm_names() if name.startswith(incomplete)]


def _timm_names() -> list[str]:
    """From timm's source text, in 0.04 s: importing it takes seconds."""
    found = find_spec("timm")
    if found is None or not found.origin:
        return []
    files = sorted((Path(found.origin).parent / "models").glob("*.py"))
    return [name for file in files for name in re.findall(r"^@register_model\ndef (\w+)\(", file.read_text(), re.M)]


def configs(incomplete: str) -> Offers:
    """The embedded ones, and YAML files."""
    from imgclf.config import embedded

    begun = escape(incomplete)  # kept as it was typed, "./pe" too, which Path would shorten
    files = sorted(name for suffix in ("yaml", "yml") for name in glob(f"{begun}*.{suffix}"))  # noqa: PTH207
    return [*embedded(), *files]


def listed(offer: Callable[[str], Offers]) -> Callable[[str], Offers]:
    """For options such as ``--archs A,B``: completes what stands behind the last comma."""

    def several(incomplete: str) -> Offers:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [before + comma + name for name in map(str, offer(last)) if name not in given]

    return several


def words(*names: str) -> Callable[[], Offers]:
    """These and no others."""
    return lambda: list(names)


def losses(incomplete: str) -> Offers:
    """Every loss."""
    return list(_values("train.loss", incomplete))


def assignments(incomplete: str) -> Offers:
    """For ``--set``: keys with what they do; behind ``=``, and if only one key fits, values."""
    from imgclf.schema import leaves

    key, equals, value = incomplete.partition("=")
    known = leaves()
    if equals:
        return [f"{key}={one}" for one in _values(key, value)] if key in known else []
    fitting = {k: text for k, text in known.items() if k.startswith(key)}
    if len(fitting) == 1:  # more than one offer, so that the shell sets no space behind the "="
        (only,) = fitting
        return [f"{only}={one}" for one in dict.fromkeys(["", *_values(only, "")])]
    return [(f"{k}=", text[:HELP_LENGTH]) for k, text in fitting.items()]


def _values(key: str, incomplete: str) -> Iterable[str]:
    """What a key can be, as YAML: every value of an enumeration, and the default."""
    if key == "model.arch":
        return map(str, archs(incomplete))
    if key == "train.device":
        return DEVICES
    if key == "train.metrics":
        return ["auto", *_in_brackets(METRICS, incomplete)]
    field = _field(key)
    default = [] if field.is_required() else [_yaml(field.get_default())]
    return dict.fromkeys([*_choices(field.annotation, incomplete), *default])


def _field(key: str) -> Any:
    from imgclf.schema import Config

    *sections, leaf = key.split(".")
    section: Any = Config
    for name in sections:
        section = section.model_fields[name].annotation
    return section.model_fields[leaf]


def _choices(kind: Any, incomplete: str) -> list[str]:
    """The values of a type, where it has few: of a literal, a boolean, null, a list of literals, a union of these."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind is bool:
        return ["true", "false"]
    if kind is type(None):
        return ["null"]
    if origin is Literal:
        return [_yaml(value) for value in inside]
    if origin in (Union, UnionType):
        return [value for one in inside for value in _choices(one, incomplete)]
    if origin is Annotated:
        return _choices(inside[0], incomplete)
    if origin is tuple and get_origin(inside[0]) is Literal:
        return _in_brackets(map(str, get_args(inside[0])), incomplete)
    return []


def _in_brackets(names: Iterable[str], incomplete: str) -> list[str]:
    """A list of one of the names; of one more, where the list has begun."""
    before = re.match(r"\[(.*,)?", incomplete)
    start = before.group() if before else "["
    return [f"{start}{name}]" for name in names if name not in start[1:].split(",")]


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
