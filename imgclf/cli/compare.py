"""`imgclf compare`"""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgclf import runs
from imgclf.cli import completion
from imgclf.cli.options import RunsDirOption, Settings, TrustOption, command
from imgclf.console import table
from imgclf.errors import UserError

if TYPE_CHECKING:
    from imgclf.workflow.compare import Comparison, Variant


def _several(name: str, of: str, offer: Callable[[str], completion.Offers] | None = None) -> Any:
    return typer.Option(
        name,
        metavar="A,B,…",
        help=f"Train a run with each of these {of}.",
        show_default=False,
        autocompletion=completion.listed(offer) if offer else None,
    )


@command
def compare_cli(
    settings: Settings,
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]…",
            help="Finished runs: folders or names.",
            show_default=False,
            autocompletion=completion.run_names,
        ),
    ] = None,
    archs: Annotated[str | None, _several("--archs", "architectures", completion.archs)] = None,
    losses: Annotated[str | None, _several("--losses", "losses", completion.losses)] = None,
    lrs: Annotated[str | None, _several("--lrs", "learning rates")] = None,
    name: Annotated[str, typer.Option("--name", help="First part of the names of the runs trained.")] = "compare",
    runs_dir: RunsDirOption = Path("runs"),
    trust: TrustOption = False,
) -> None:
    """Which of several models to take: a paired test on the same images, and the smallest that is as good.

    Example: [bold]imgclf compare -d ~/photos --archs resnet18,resnet34[/]
    """
    from imgclf.workflow.compare import compare, train_each
    from imgclf.workflow.environment import command_line

    terminal = settings.terminal
    lists = {"--archs": archs, "--losses": losses, "--lrs": lrs}
    given = {option: _split(option, text) for option, text in lists.items() if text is not None}
    found = [runs.find(reference, runs_dir) for reference in references or ()]
    if given:
        variants = _variants(settings, name, given)
        if len(found) + len(variants) > 1:  # else there is nothing to compare, and nothing should be trained
            found += train_each(variants, runs_dir=runs_dir, terminal=terminal, command=command_line(), trust=trust)
    else:
        _nothing_to_train(settings)
    made = compare(found, device=settings.flags["device"] or "auto", terminal=terminal, trust=trust)
    terminal.result(made.to_dict(), _human(made))


KEYS = {"--archs": "model.arch", "--losses": "train.loss", "--lrs": "train.lr"}


def _split(option: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",")]
    if "" in values or len(set(values)) < len(values):
        raise UserError(f"{option} {text}: an empty value, or one twice", f"name each once: {option} A,B")
    return values


def _variants(settings: Settings, prefix: str, given: dict[str, list[str]]) -> "list[Variant]":
    """Every combination of the values, each checked as a configuration, named after what differs."""
    from imgclf.config import Override
    from imgclf.workflow.compare import Variant

    found = []
    for values in product(*given.values()):
        changes = [Override(KEYS[o], _value(o, v), o) for o, v in zip(given, values, strict=True)]
        named = [f"lr{v}" if o == "--lrs" else v for o, v in zip(given, values, strict=True)]
        found.append(Variant("-".join([prefix, *named]), settings.load(changes).config))
    return found


def _value(option: str, text: str) -> Any:
    if option != "--lrs" or text == "auto":
        return text
    try:
        return float(text)
    except ValueError as e:
        raise UserError(f"--lrs: '{text}' is no learning rate", "write numbers or auto: --lrs 1e-3,3e-3,auto") from e


def _nothing_to_train(settings: Settings) -> None:
    """Refuse options that say how to train when finished runs are compared."""
    flags = [f"--{name.replace('_', '-')}" for name in settings.given if name not in ("device", "offline")]
    flags += ["--set"] * bool(settings.assignments) + ["--config"] * bool(settings.config)
    if flags:
        raise UserError(
            f"{', '.join(flags)} without effect: finished runs are compared as they are",
            "to train runs that differ: --archs A,B, --losses A,B or --lrs A,B",
        )


def _human(made: "Comparison") -> Any:
    from rich.console import Group
    from rich.text import Text

    from imgclf.results.compare import TEST

    wrong = "a label wrong" if made.several else "error rate"
    columns = ["run", "arch", "params", "MB", wrong, "95 % interval", "seconds", "ms an image"]
    rows = [
        [
            run["name"], run["arch"], f"{run['params']:,}", f"{run['bytes'] / 1e6:.1f}",
            f"{run['error_rate']['value']:.4f}",
            f"{run['error_rate']['low']:.3f}–{run['error_rate']['high']:.3f}", run["seconds"], run["latency_ms"],
        ]
        for run in made.runs
    ]  # fmt: skip
    pairs = [
        [p.a, p.b, p.only_a, p.only_b, len(flipped), f"{p.p_value:.3g}", f"{p.p_holm:.3g}"]
        for p, flipped in zip(made.verdict.pairs, made.flips, strict=True)
    ]
    verdict = Text.assemble((f"recommended: {made.verdict.recommended}", "bold"), f" – {made.verdict.why}")
    return Group(
        table(f"Judged on the same {made.n} images", columns, rows),
        Text(""),
        table("Pairs", ["a", "b", "only a right", "only b right", "flipped", "p", "p, Holm"], pairs),
        Text(""),
        verdict,
        Text(f"p: {TEST}; --json lists the images that flipped"),
    )
