"""The report of a run, made of what is in its folder: at the end of a training, and again whenever asked for."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgclf import disk, runs
from imgclf.console import Terminal
from imgclf.data import changes, split
from imgclf.errors import ModelError
from imgclf.results import abstention, answers, cycle, phases, shape
from imgclf.results.answers import Answer
from imgclf.results.report import write_report
from imgclf.results.sections.content import Content
from imgclf.runs import Run
from imgclf.shipping import inference
from imgclf.shipping.inference import Predictor
from imgclf.workflow import illustrate, listing, planned

INTERRUPTED = "The run was interrupted: this is the best model it had reached."
UNFINISHED = "The run is not finished ({}): what is missing here was not reached."
IN_THE_DATA = {
    "leaks": "Validation or test images that are in training too, or nearly: {}. The figures are too good.",
    "conflicts": "Pictures that are there more than once, with different labels: {}.",
}
FIRST = ("history", "schedule", "lr_find", "lr_find_unfrozen")  # plots, in the order of the page


def report(
    reference: str | None = None,
    *,
    runs_dir: Path = Path("runs"),
    device: str = "auto",
    terminal: Terminal | None = None,
    trust: bool = False,
) -> Path:
    """Write a run's ``report.html`` again.

    Args:
        reference: A run folder or name; None: the newest finished run.
        trust: Whether the code that a custom head names may run; without it such a model has no heat maps.

    Raises:
        ModelError: if there is no such run.
        RunError: if its folder cannot be written to.
    """
    run = runs.find(reference, runs_dir)
    with disk.explained(run.path):
        return write(run, device, trust, terminal or Terminal(quiet=True))


def write(run: Run, device: str, trust: bool, terminal: Terminal, status: str | None = None) -> Path:
    """Write ``report.html`` from the files of a run folder; what is missing there is left out.

    Args:
        status: That the run is about to have; None: that of its manifest.
    """
    kept = _Kept.read(run)
    kept.manifest.update({"status": status} if status else {})
    predictor = _predictor(run, device, trust, terminal)
    plan = kept.manifest.get(planned.KEY)
    if plan:
        cycle.schedule_plot(plan, run.file(runs.PLOTS) / "schedule.png")
    root = Path(kept.manifest.get("data_root", ""))
    seen = bool(kept.answers) and any((root / path).is_file() for path in kept.answers)
    if kept.answers and not seen:
        terminal.warn(f"the images of {run.name} are no longer in {root}: the report is without them")
    evaluation = kept.evaluation or {}
    worst = illustrate.worst(predictor, root, evaluation.get("top_losses", [])) if seen else []
    illustrate.sheet(worst, run.file(runs.PLOTS) / "heatmaps.png")
    before = listing.previous(run)
    own, theirs = listing.configuration(run), listing.configuration(before) if before else None
    content = Content(
        title=f"{run.name}: {len(evaluation['per_class'])} classes of {root.name}" if evaluation else run.name,
        facts=_facts(run, kept, predictor, root),
        evaluation=kept.evaluation,
        history=kept.history,
        plots=_plots(run),
        warnings=_warnings(kept.manifest),
        command=kept.manifest.get("command", ""),
        later=kept.manifest.get("resumed", []),
        config=shlex.quote(str(run.file(runs.CONFIG).absolute())),
        plan=plan,
        rates=_rates(kept.manifest),
        decisions=_decisions(kept.manifest),
        confused=illustrate.confused(root, evaluation, kept.answers) if seen else [],
        worst=worst,
        slices=illustrate.slices(root, kept.answers, terminal) if seen else None,
        checks=kept.manifest.get("checks"),
        previous=before.name if before else None,
        changes=listing.changes(theirs, own) if own and theirs else None,
    )
    return write_report(run.file(runs.REPORT), content)


@dataclass(frozen=True)
class _Kept:
    """What a run folder holds, as far as the run got."""

    manifest: dict[str, Any]
    history: list[dict[str, Any]]
    evaluation: dict[str, Any] | None
    answers: Mapping[str, Answer]
    counts: dict[str, int]  # images of each part

    @classmethod
    def read(cls, run: Run) -> "_Kept":
        judged = run.file(runs.EVAL_REPORT)
        given, divided = run.file(runs.PREDICTIONS), run.file(runs.SPLIT)
        samples = split.read_csv(divided) if divided.is_file() else []
        return cls(
            run.manifest(),
            history(run),
            shape.read(judged) if judged.is_file() else None,
            answers.read_csv(given) if given.is_file() else {},
            {part: sum(s.split == part for s in samples) for part in changes.NAMES},
        )


def history(run: Run) -> list[dict[str, Any]]:
    """The rows of ``history.csv`` with numbers for what are numbers."""
    return [{key: _value(text) for key, text in row.items()} for row in listing.history_rows(run)]


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _predictor(run: Run, device: str, trust: bool, terminal: Terminal) -> Predictor | None:
    """The run's model; None where it has none yet, or needs code that is not trusted."""
    if not run.file(runs.WEIGHTS).is_file():
        return None
    try:
        return inference.load(run.path, device, trust)
    except ModelError as e:
        terminal.warn(f"the report is without heat maps: {e.message}")
        return None


def _plots(run: Run) -> list[Path]:
    """The pictures of a run: how it was trained, then what came of it."""
    folder = run.file(runs.PLOTS)
    found = [*sorted(folder.glob("*.png")), run.file(runs.LR_FIND_PLOT), run.file(runs.LR_FIND_UNFROZEN_PLOT)]
    order = {name: i for i, name in enumerate(FIRST)}
    return sorted((path for path in found if path.is_file()), key=lambda path: order.get(path.stem, len(order)))


def _warnings(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with the run, or with its data, that the figures do not show."""
    status, checks = manifest["status"], manifest.get("checks") or {}
    found = {"finished": [], "interrupted": [INTERRUPTED]}.get(status, [UNFINISHED.format(status)])
    return [*found, *(text.format(checks[kind]) for kind, text in IN_THE_DATA.items() if checks.get(kind))]


def _rates(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    from imgclf.workflow import rates

    return rates.facts(manifest.get(rates.KEY, {}))


def _decisions(manifest: Mapping[str, Any]) -> list[str]:
    precision = manifest.get("precision_reason")
    return [
        *manifest.get("decisions", []),
        *([f"precision: {manifest['precision']}, {precision}"] if precision else []),
    ]


def _facts(run: Run, kept: _Kept, predictor: Predictor | None, root: Path) -> list[tuple[str, str]]:
    manifest, result = kept.manifest, kept.manifest.get("result") or {}
    layout = manifest.get("layout")
    parts = [f"{n:,} for {changes.NAMES[part]}" for part, n in kept.counts.items() if n]
    best, compared, rate = result.get("best", {}), result.get("unfreezing"), result.get("images_per_second")
    known = {
        "data": f"{root}{f' ({layout})' if layout else ''}",
        "images": ", ".join(parts),
        "architecture": ", ".join(manifest[key] for key in ("arch", "weights") if manifest.get(key)),
        "input": _input(predictor) if predictor else "",
        "best epoch": f"{best['phase']} epoch {best['epoch']} (by {best['metric']})" if "phase" in best else "",
        "phases": phases.sentence(compared) if compared else "",
        "temperature": f"{predictor.temperature:.3f}" if predictor and predictor.temperature else "",
        "--abstain": _abstaining(kept),
        "speed": f"{rate:.1f} training images a second on {manifest.get('device')}" if rate else "",
        "time": f"{result['seconds']:.0f} s in all, {manifest.get('precision', '')}" if "seconds" in result else "",
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        "started": manifest.get("started", "")[:16].replace("T", " "),
    }
    return [(name, value) for name, value in known.items() if value]


def _input(predictor: Predictor) -> str:
    preprocess = predictor.preprocess
    return f"{preprocess.size} px, {preprocess.framing}, {preprocess.colours}"


def _abstaining(kept: _Kept) -> str:
    """What `--abstain` can be asked for."""
    if not kept.answers or "mAP" in (kept.evaluation or {}):
        return ""
    given = list(kept.answers.values())
    # Only the highest probability of each image counts, and whether it is that of the label.
    probs = np.array([[answer.prob, 0.0] for answer in given])
    return abstention.summary(abstention.choices(probs, np.array([int(not answer.right) for answer in given])))
