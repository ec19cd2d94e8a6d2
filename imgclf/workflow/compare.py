"""Compare models on the same validation images: finished runs, or runs trained here that differ in one thing."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from imgclf import runs
from imgclf.config import load
from imgclf.console import Terminal
from imgclf.data import changes
from imgclf.data.location import keep_out
from imgclf.errors import DataError, ModelError, UserError
from imgclf.results import answers
from imgclf.results.compare import TEST, Candidate, Verdict, flips
from imgclf.results.compare import compare as judge
from imgclf.results.metrics import wilson
from imgclf.runs import Run
from imgclf.schema import Config

WARM_UP, TIMED = 3, 15  # forward passes


@dataclass(frozen=True)
class Variant:
    """A run to train, or to use if it is there: its name and configuration."""

    name: str
    config: Config


@dataclass(frozen=True)
class Comparison:
    """The figures of every run, as they go into JSON, and what follows from them.

    Attributes:
        flips: For each pair of the verdict, the images one of the two has right and the other wrong.
        several: Whether an image may have several labels; it is right if all of them are.
    """

    runs: list[dict[str, Any]]
    n: int
    verdict: Verdict
    flips: list[list[dict[str, str]]]
    several: bool

    def to_dict(self) -> dict[str, Any]:
        pairs = zip(self.verdict.pairs, self.flips, strict=True)
        return {
            "n": self.n, "task": "multi" if self.several else "single", "runs": self.runs, "test": TEST,
            "pairs": [{**pair.to_dict(), "flips": flipped} for pair, flipped in pairs],
            "best": self.verdict.best, "recommended": self.verdict.recommended, "why": self.verdict.why,
        }  # fmt: skip


def compare(
    found: Sequence[Run], *, device: str = "auto", terminal: Terminal | None = None, trust: bool = False
) -> Comparison:
    """Compare finished runs that were judged on the same images.

    Args:
        found: Two or more.
        device: Where the time of a prediction is measured.
        trust: Whether the code that a custom head names may run.

    Raises:
        UserError: for fewer than two runs, or one given twice.
        ModelError: if a run is not finished or lacks its answers.
        DataError: if the runs were not judged on the same images with the same labels.
    """
    terminal = terminal or Terminal(quiet=True)
    _check_distinct(found)
    for run in found:
        _check_finished(run)
    several = _check_same_images(found)
    given = [answers.read_csv(run.file(runs.PREDICTIONS)) for run in found]
    order = _judged_by_all(found, given, terminal)
    right = [np.array([answer[path].right for path in order]) for answer in given]
    terminal.note(f"measuring the time of one prediction, {TIMED} for each model")
    rows = [_figures(run, ok, device, trust) for run, ok in zip(found, right, strict=True)]
    candidates = [Candidate(row["name"], row["params"], ok) for row, ok in zip(rows, right, strict=True)]
    verdict = judge(candidates)
    named = {run.name: answer for run, answer in zip(found, given, strict=True)}
    flipped = [flips(named[pair.a], named[pair.b], order) for pair in verdict.pairs]
    return Comparison(rows, len(order), verdict, flipped, several)


def train_each(
    variants: Sequence[Variant], *, runs_dir: Path, terminal: Terminal, command: str = "", trust: bool = False
) -> list[Run]:
    """Train every variant as an ordinary run; one that is there, finished, with the same configuration is used.

    Raises:
        UserError: of the kind that fits; of names and configurations before anything is trained.
    """
    from imgclf.training import archs, network, scores
    from imgclf.workflow.train import train

    for variant in variants:
        archs.resolve(variant.config)
        network.check_trust(variant.config, trust)
        scores.metric_names(variant.config)
        keep_out(variant.config, runs_dir, "--runs-dir")
    there = {v.name for v in variants if _is_there(v, runs_dir)}
    for i, v in enumerate(variants, 1):
        if v.name in there:
            terminal.note(f"{i} of {len(variants)}: {v.name} is finished, with the same configuration: used as it is")
            continue
        terminal.note(f"{i} of {len(variants)}: training {v.name}")
        train(v.config, runs_dir=runs_dir, name=v.name, terminal=terminal, command=command, trust=trust)
    return [Run(runs_dir / v.name) for v in variants]


def _is_there(variant: Variant, runs_dir: Path) -> bool:
    """Whether a run of that name can be used.

    Raises:
        ModelError: if there is one that cannot: of another configuration, or unfinished.
    """
    run = Run(runs_dir / variant.name)
    if not run.path.exists():
        return False
    _check_finished(run)
    if load(str(run.file(runs.CONFIG))).config != variant.config:
        raise ModelError(
            f"the run {run.path} exists already, with another configuration",
            "choose another first part of the names: --name PREFIX",
        )
    return True


def _check_distinct(found: Sequence[Run]) -> None:
    if len(found) < 2:
        raise UserError(
            f"{len(found)} run{'s' * (len(found) != 1)} to compare, two are needed",
            "imgclf compare RUN_A RUN_B, or imgclf compare --archs resnet18,resnet34",
        )
    names = [run.name for run in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two runs of the same name: {', '.join(twice)}", "give each run once, under a name of its own")


def _check_finished(run: Run) -> None:
    if (status := run.manifest()["status"]) != "finished":
        raise ModelError(
            f"the run {run.path} is not finished: {status}",
            f"go on with it: imgclf train --resume {run.path}; or leave it out",
        )


def _check_same_images(found: Sequence[Run]) -> bool:
    """Every run must have the validation images of the first: same paths, labels and content.

    Returns:
        Whether they have several labels each.
    """
    first, *others = [_validation(run) for run in found]
    for run, own in zip(found[1:], others, strict=True):
        if first.keys() != own.keys():
            differing = sorted(first.keys() ^ own.keys())
            raise DataError(
                f"{found[0].name} and {run.name} were not judged on the same images: {len(differing)} are in one "
                f"validation split alone, such as {differing[0]}",
                "train with the same data, seed and data.* settings, or use data.split: the other run's split.csv",
            )
        changed = sorted(path for path in first if first[path] != own[path])
        if changed:
            raise DataError(
                f"{found[0].name} and {run.name}: {len(changed)} validation images have another label or content, "
                f"such as {changed[0]}",
                "train both on the same state of the data",
            )
    tasks = {run.name: _task(run) for run in found}
    if len(set(tasks.values())) > 1:
        raise DataError(
            f"some of the runs give one label an image, others several: {tasks}", "compare runs for the same question"
        )
    return tasks[found[0].name] == "multi"


def _task(run: Run) -> str:
    """What the model answers with, of the run's record; the images themselves may have one label each by chance."""
    try:
        return str(json.loads(run.file(runs.RECORD).read_text(encoding="utf-8")).get("task", "single"))
    except (OSError, ValueError, AttributeError) as e:
        raise ModelError(f"cannot read the model record {run.file(runs.RECORD)}: {e}", "train it again") from e


def _validation(run: Run) -> dict[str, tuple[tuple[str, ...], str]]:
    rows = [row for row in changes.read(run.file(runs.SPLIT)) if row.sample.split == "valid"]
    return {row.sample.path: (row.sample.labels, row.digest) for row in rows}


def _judged_by_all(found: Sequence[Run], given: Sequence[dict[str, answers.Answer]], terminal: Terminal) -> list[str]:
    """The images every run answered, in order; an image one of them could not read counts for none."""
    for (a, own), (b, other) in pairwise(zip(found, given, strict=True)):
        if odd := own.keys() ^ other.keys():
            terminal.warn(f"{len(odd)} images were judged by one of {a.name} and {b.name} alone: left out")
    common = set.intersection(*(set(own) for own in given))
    if not common:
        raise DataError("the runs have no judged image in common", "imgclf runs show RUN lists the files of a run")
    for run, own in zip(found, given, strict=True):
        if wrong := sorted(path for path in common if own[path].target != given[0][path].target):
            raise DataError(f"{found[0].name} and {run.name} were judged against other labels, such as of {wrong[0]}")
    return sorted(common)


def _figures(run: Run, right: np.ndarray, device: str, trust: bool) -> dict[str, Any]:
    from imgclf.shipping import bundle

    net, record = bundle.load(run.path, trust)
    errors = wilson(int((~right).sum()), len(right))
    return {
        "name": run.name, "arch": record.arch, "params": sum(p.numel() for p in net.parameters()),
        "bytes": run.file(runs.WEIGHTS).stat().st_size,
        "error_rate": errors.to_dict(), "seconds": (run.manifest().get("result") or {}).get("seconds"),
        "latency_ms": round(latency(run.path, device, trust), 3),
    }  # fmt: skip


def latency(model: Path, device: str = "auto", trust: bool = False) -> float:
    """Milliseconds from one image in memory to its probabilities (batch 1): the median of several."""
    from imgclf.shipping import inference

    predictor = inference.load(model, device, trust)
    side = predictor.preprocess.size
    image = np.zeros((1, side, side, 3), np.uint8)
    times = []
    for _ in range(WARM_UP + TIMED):
        started = time.perf_counter()
        predictor.probs(image)
        times.append(time.perf_counter() - started)
    return 1000 * median(times[WARM_UP:])
