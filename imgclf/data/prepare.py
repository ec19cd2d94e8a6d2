"""Scan, check and split: what every command does before it touches a model."""

from dataclasses import dataclass
from typing import Any

from imgclf.console import Terminal, some
from imgclf.data import alike, changes, checks, leaks, levels, scan, split, survey
from imgclf.data.alike import Alike
from imgclf.data.colours import is_deep
from imgclf.data.garbage import seldom_collected
from imgclf.data.inspection import FileCheck
from imgclf.data.leaks import Divided
from imgclf.data.samples import Samples
from imgclf.data.split import Dataset
from imgclf.errors import DataError
from imgclf.schema import Config

SHOWN = 10  # files named in a message
EXAMPLES = 5  # of each kind of finding, in the manifest


@dataclass(frozen=True)
class Prepared:
    """The labelled images, what each file turned out to be, which are alike, and the split of the good ones."""

    samples: Samples
    checks: list[FileCheck]
    alike: Alike
    divided: Divided

    @property
    def dataset(self) -> Dataset:
        return self.divided.dataset

    @property
    def drawn(self) -> bool:
        """Whether chance decided which images validate: neither the data nor an earlier run did."""
        return not self.dataset.reused and all(s.split != "valid" for s in self.samples.items)

    @property
    @seldom_collected()
    def fingerprint(self) -> str:
        """One hash over names and contents of all images."""
        return checks.fingerprint(self.checks)

    @property
    @seldom_collected()
    def split_csv(self) -> str:
        """The text of ``split.csv``."""
        return split.to_csv(self.dataset, {c.path: (c.size, c.digest) for c in self.checks})

    @property
    @seldom_collected()
    def findings(self) -> dict[str, Any]:
        """What the run's manifest records of the check: how many of each kind, and the first of them."""
        found: dict[str, list[Any]] = {
            "bad": [c.path for c in self.checks if c.reason],
            "duplicates": self.alike.exact,
            "near_duplicates": self.alike.nearly,
            "leaks": [[leak["valid"], leak["train"]] for leak in leaks.find(self.dataset, self.alike)],
            "conflicts": [conflict["paths"] for conflict in leaks.conflicts(self.samples, self.alike)],
        }
        return {
            **{kind: len(every) for kind, every in found.items()},
            "examples": {kind: every[:EXAMPLES] for kind, every in found.items() if every},
            "corrections": self.samples.corrections,
            "fixed": checks.fixed(self.divided),
        }


@seldom_collected()
def prepare(cfg: Config, terminal: Terminal) -> Prepared:
    """Find the images, decode every file once, leave out or refuse the bad ones, and split.

    Raises:
        DataError: for data that cannot be trained on; with ``data.on_bad_image: fail`` also for one bad file, with
            ``data.on_leak: fail`` for one picture on both sides.
    """
    found = scan.scan(cfg, terminal=terminal)
    otherwise = " (else: --set data.labels=folder, regex or csv)" * found.recognised
    terminal.note(f"data: {found.layout}, in {found.root}{otherwise}")
    if found.ignored:
        terminal.note(f"data: passed over {len(found.ignored)} other files and folders: {some(found.ignored, 3)}")
    looked_at, same = inspect(found, terminal)
    _bad_images(cfg, looked_at, terminal)
    rule = leaks.rule(cfg)
    divided = leaks.divide(cfg, checks.without_bad(found, looked_at), same, rule == "fix")
    made = Prepared(found, looked_at, same, divided)
    _warn(made, terminal)
    if said := levels.advice(cfg, [found.root / c.path for c in looked_at if c.look and is_deep(c.look.mode)]):
        terminal.warn(said)
    _leaks(made, rule, terminal)
    return made


def inspect(found: Samples, terminal: Terminal) -> tuple[list[FileCheck], Alike]:
    """Check every file, with a bar on a terminal, and find those that are alike."""
    with terminal.progress("checking images", len(found.items)) as step:
        looked_at = survey.inspect(found.root, found.items, step)
    return looked_at, alike.find(found.root, looked_at)


def _bad_images(cfg: Config, looked_at: list[FileCheck], terminal: Terminal) -> None:
    bad = [c for c in looked_at if c.reason]
    if not bad:
        return
    lines = [f"  {c.path}: {c.reason}" for c in bad[:SHOWN]] + ["  …"] * (len(bad) > SHOWN)
    text = "\n".join([f"{len(bad)} of {len(looked_at)} images cannot be decoded:", *lines])
    if cfg.data.on_bad_image == "fail":
        raise DataError(text, "remove or mend them, or leave them out: --set data.on_bad_image=skip")
    terminal.warn(text)
    terminal.note("they are left out (data.on_bad_image: skip)")


def _warn(made: Prepared, terminal: Terminal) -> None:
    dataset = made.dataset
    if dataset.left_out:
        terminal.warn(checks.left_out_note(dataset))
    for note in split.notes(dataset):
        terminal.warn(note)
    changed = changes.describe(dataset.reused, {c.path: c.digest for c in made.checks if c.digest})
    for note in (
        changed,
        f"{dataset.new} images are not in the split that is reused, and not used" * bool(dataset.new),
    ):
        if note:
            terminal.warn(note)
    conflicts = leaks.conflicts(made.samples, made.alike)
    if conflicts:
        first: Any = conflicts[0]
        shown = (" = " if first["kind"] == "exact" else " ~ ").join(first["paths"][:SHOWN])
        terminal.warn(
            f"{counted(len(conflicts), 'picture')} there twice with different labels, such as {shown}; "
            "`imgclf data check` lists them, `--out FOLDER` shows them"
        )


def _leaks(made: Prepared, rule: str, terminal: Terminal) -> None:
    """Say what is on both sides of the split, or what was done about it."""
    dropped, kept = made.divided.dropped, made.divided.kept_together
    if dropped:
        number = counted(len(dropped), "training image")
        terminal.warn(f"{number} left out, being held out as well: {some(dropped, 3)}")
    if kept:
        terminal.note(f"split: {kept} groups of equal or nearly equal pictures are each kept on one side")
    found = leaks.find(made.dataset, made.alike)
    if not found:
        return
    first = found[0]
    example = f"{first['valid']} {'=' if first['kind'] == 'exact' else '~'} {first['train']}"
    near = sum(leak["kind"] == "near" for leak in found)
    number = counted(len(found), "validation or test image")
    text = f"{number} also in training ({near} of them nearly), such as {example}"
    if rule == "fail":
        raise DataError(text, "remove the copies, or keep each on one side: --set data.on_leak=fix")
    terminal.warn(
        f"{text}: the figures will be too good. `imgclf data check` lists them; "
        "--set data.on_leak=fix keeps each picture on one side"
    )


def counted(n: int, what: str) -> str:
    """``"1 picture is"``, ``"2 pictures are"``."""
    return f"{n} {what} is" if n == 1 else f"{n} {what}s are"
