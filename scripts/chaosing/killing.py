"""Runs killed at random moments and resumed until they are done."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.chaosing import state
from scripts.chaosing.processes import Started, begun, forked

SMALL = (
    *("-a", "resnet18", "--size", "32", "--presize", "40", "-b", "8", "-e", "2", "--device", "cpu", "--name", "run"),
    *("--set", "train.precision=fp32", "--set", "model.cut=-4", "--offline"),
)  # fmt: skip
RECIPES = {
    "book": ("--set", "train.recipe=book", "--set", "model.pretrained=false", "--freeze-epochs", "1", "--lr", "0.003"),
    "auto": ("--set", "train.recipe=auto", "--set", "model.weights=WEIGHTS"),
}
LEAN = ("--set", "train.baselines=false")
KINDS = tuple((recipe, workers) for recipe in RECIPES for workers in (0, 2))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST_KILLS = 5
REAL = 10  # of so many runs one is of interpreters started anew
FULL = 5  # of so many one draws its pictures and trains its baselines, which takes longer than all the rest
IMPORTS = 6.0  # seconds a new interpreter takes to import everything, on a machine with nothing else to do
PATIENCE = 600.0  # seconds for what is asked to stop, or left alone, to end


@dataclass(frozen=True)
class Place:
    """Where everything is: ``images/``, ``weights.pth``, the undisturbed runs, and a folder for each run attacked."""

    folder: Path

    def settings(self, recipe: str, workers: int) -> list[str]:
        own = [part.replace("WEIGHTS", str(self.folder / "weights.pth")) for part in RECIPES[recipe]]
        return ["-d", str(self.folder / "images"), *SMALL, *own, "--set", f"data.workers={workers}"]

    def whole(self, recipe: str) -> Path:
        """The undisturbed run; the number of workers changes nothing."""
        return self.folder / f"whole-{recipe}" / "runs" / "run"

    def seconds(self, recipe: str, full: bool) -> float:
        """How long a start of that kind took that nothing disturbed."""
        return float(_seconds(self.folder / f"{'whole' if full else 'lean'}-{recipe}").read_text())

    def prepare(self, recipes: Iterable[str]) -> None:
        """Make what runs of these recipes need, unless it is there."""
        import shapes

        if not (self.folder / "weights.pth").exists():
            shapes.write_with_weights(self.folder, per_class=10)
        for recipe in sorted(set(recipes)):
            self._train(self.folder / f"whole-{recipe}", self.settings(recipe, 0), lambda: None)
            self._train(self.folder / f"lean-{recipe}", [*self.settings(recipe, 2), *LEAN], no_pictures)

    def _train(self, folder: Path, settings: Sequence[str], prepare: Callable[[], object]) -> None:
        if _seconds(folder).exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        log = folder / "log.txt"
        process = forked(["train", *settings], folder, log, prepare)
        if process.wait(PATIENCE) != 0:
            raise SystemExit(f"the undisturbed run failed: {process.code}\n{log.read_text()[-3000:]}")
        _seconds(folder).write_text(f"{time.monotonic() - process.started}")


def _seconds(folder: Path) -> Path:
    return folder / "seconds.txt"


def no_pictures() -> None:
    """Let figures of this process be files of one pixel: they are written all the same, in a thousandth of the time."""
    from matplotlib.figure import Figure
    from PIL import Image

    def save(self: Figure, path: Path, **_: object) -> None:
        Image.new("RGB", (1, 1)).save(path)

    Figure.savefig = save  # type: ignore[method-assign, assignment]


@dataclass
class Attack:
    """One run, what was done to it and what came of it. ``seconds`` are of the process, from its start to the kill."""

    number: int
    recipe: str
    workers: int
    real: bool
    every_step: bool
    full: bool
    kills: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def attack(place: Place, number: int, seed: int) -> Attack:
    """Train, kill, resume, kill …: a function of the two numbers but for what the machine does meanwhile."""
    rng = random.Random(f"chaos/{seed}/{number}")
    recipe, workers = KINDS[number % len(KINDS)]
    real, every_step = number % REAL == REAL - 1, bool(number // len(KINDS) % 2)
    full = real or number % FULL == 0
    made = Attack(number, recipe, workers, real, every_step, full)
    folder = place.folder / f"run-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start, log, run = begun if real else forked, folder / "log.txt", folder / "runs" / "run"
    minutes = ["--set", "train.checkpoint_minutes=0"] * every_step
    settings = [*place.settings(recipe, workers), *minutes, *([] if full else LEAN)]
    longest = place.seconds(recipe, full) + IMPORTS * real
    most, began = rng.randint(1, MOST_KILLS), time.monotonic()
    while not state.finished(run):
        if made.starts > most or made.faults:
            made.faults.append("it did not finish")
            break
        process = start(_command(run, settings, rng), folder, log, *([] if full else [no_pictures]))
        made.starts += 1
        kill = rng.uniform(0, longest) if len(made.kills) < most else None
        _watch(made, process, kill, rng)
        made.faults += state.faults_between(run.parent)
    if state.finished(run):
        made.faults += state.faults_at_the_end(run, place.whole(recipe))
    made.faults += tracebacks(log)
    made.seconds = round(time.monotonic() - began, 1)
    if not made.faults:
        shutil.rmtree(folder)
    return made


def _command(run: Path, settings: Sequence[str], rng: random.Random) -> list[str]:
    """Begin, or go on in one of the ways there are."""
    auto = ["train", *settings, "--resume", "auto"]
    if run.is_dir():
        return rng.choice([["train", "--resume", "run"], ["train", "--resume", "latest"], auto])
    return rng.choice([["train", *settings], auto])


def _watch(made: Attack, process: Started, kill: float | None, rng: random.Random) -> None:
    """Let a process run for so many seconds (None: to its end), end it by some signal, and see that all of it goes."""
    code = process.wait(PATIENCE if kill is None else kill)
    killed = code is None and kill is not None  # else it came to its end before
    if code is None and kill is not None:
        number, group = rng.choice(SIGNALS), rng.random() < 0.5
        made.kills.append({"signal": number.name, "group": group, "seconds": round(kill, 3)})
        process.send(number, group)
        if number != signal.SIGKILL and rng.random() < 0.3:
            code = process.wait(rng.uniform(0, 1))
            if code is None:
                made.kills[-1]["again"] = True
                process.send(number, group)
        code = process.wait(PATIENCE)
    if code is None:
        made.faults.append(f"it did not end within {PATIENCE:.0f} s after {made.kills[-1:]}")
        process.end()
    if code is not None and code not in _usual(made, killed):
        made.faults.append(f"exit code {code} after {made.kills[-1:]}")
    if left := process.survivors(state.MOST_SECONDS_ORPHANED):
        made.faults.append(f"{len(left)} processes run on after {made.kills[-1:]}")


def _usual(made: Attack, killed: bool) -> set[int]:
    """The exit codes a process may have: any signal may come too late, a soft one before the command has begun."""
    if not killed:
        return {0}
    number = signal.Signals[made.kills[-1]["signal"]]
    at_once = number == signal.SIGINT and (made.real or "again" in made.kills[-1])
    soft = {0, 130} | ({-signal.SIGINT} if at_once else set())
    return {0, -number} if number == signal.SIGKILL else soft | ({-number} if number == signal.SIGTERM else set())


def tracebacks(log: Path) -> list[str]:
    """What users were shown and only a developer can read, but for what Python shows if interrupted in its imports."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    shown = [
        n for n, line in enumerate(lines) if line.startswith(("Traceback (most", "Exception ignored", "--- Logging"))
    ]
    at_imports = [n for n in shown if any("frozen runpy" in line for line in lines[n : n + 3])]
    return [" | ".join(lines[n : n + 40])[-700:] for n in shown if n not in at_imports]


def recipes(numbers: Iterable[int]) -> set[str]:
    """Those of the runs with these numbers."""
    return {KINDS[number % len(KINDS)][0] for number in numbers}


Told = Callable[[Attack], object]


def attacks(place: Place, numbers: Sequence[int], seed: int, told: Told) -> None:
    """All of them, one after the other."""
    for number in numbers:
        told(attack(place, number, seed))
