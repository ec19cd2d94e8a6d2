"""Scan, check and split: what every command does before it touches a model."""

from dataclasses import dataclass

from imgclf.console import Terminal
from imgclf.data import changes, checks, scan, split
from imgclf.data.checks import FileCheck
from imgclf.data.samples import Samples
from imgclf.data.split import Dataset
from imgclf.errors import DataError
from imgclf.schema import Config


@dataclass(frozen=True)
class Prepared:
    """The labelled images, what each file turned out to be, and the split of the good ones."""

    samples: Samples
    checks: list[FileCheck]
    dataset: Dataset

    @property
    def fingerprint(self) -> str:
        """One hash over names and contents of all images."""
        return checks.fingerprint(self.checks)

    @property
    def split_csv(self) -> str:
        """The text of ``split.csv``."""
        return split.to_csv(self.dataset, {c.path: (c.size, c.digest) for c in self.checks})


def prepare(cfg: Config, terminal: Terminal) -> Prepared:
    """Find the images, decode every file once, leave out or refuse the bad ones, and split.

    Raises:
        DataError: for data that cannot be trained on; with ``data.on_bad_image: fail`` also for one bad file.
    """
    found = scan.scan(cfg)
    terminal.note(f"data: {found.layout}, in {found.root}")
    if found.ignored:
        names = ", ".join(found.ignored[:3]) + (" …" if len(found.ignored) > 3 else "")
        terminal.note(f"data: passed over {len(found.ignored)} other files and folders: {names}")
    looked_at = inspect(found, terminal)
    _bad_images(cfg, looked_at, terminal)
    dataset = split.split(cfg, checks.without_bad(found, looked_at))
    _warn(found, dataset, looked_at, terminal)
    return Prepared(found, looked_at, dataset)


def inspect(found: Samples, terminal: Terminal) -> list[FileCheck]:
    """Decode every file, with a bar on a terminal."""
    with terminal.progress("checking images", len(found.items)) as step:
        return checks.inspect(found.root, found.items, step)


def _bad_images(cfg: Config, looked_at: list[FileCheck], terminal: Terminal) -> None:
    bad = [c for c in looked_at if c.reason]
    if not bad:
        return
    lines = [f"  {c.path}: {c.reason}" for c in bad[:10]] + ["  …"] * (len(bad) > 10)
    text = "\n".join([f"{len(bad)} of {len(looked_at)} images cannot be decoded:", *lines])
    if cfg.data.on_bad_image == "fail":
        raise DataError(text, "remove or mend them, or leave them out: --set data.on_bad_image=skip")
    terminal.warn(text)
    terminal.note("they are left out (data.on_bad_image: skip)")


def _warn(found: Samples, dataset: Dataset, looked_at: list[FileCheck], terminal: Terminal) -> None:
    if dataset.left_out:
        terminal.warn(checks.left_out_note(dataset))
    for note in split.class_notes(dataset):
        terminal.warn(note)
    changed = changes.describe(dataset.reused, {c.path: c.digest for c in looked_at if c.digest})
    for note in (
        changed,
        f"{dataset.new} images are not in the split that is reused, and not used" * bool(dataset.new),
    ):
        if note:
            terminal.warn(note)
    groups = checks.same_content(looked_at)
    leaks = checks.leaks(dataset, groups)
    if leaks:
        first, n = leaks[0], len({leak["valid"] for leak in leaks})
        terminal.warn(
            f"{n} validation images are also in training, such as {first['valid']} = {first['train']}: "
            "the validation figures will be too good (`imgclf data check` lists them)"
        )
    conflicts = checks.conflicts(found, groups)
    if conflicts:
        terminal.warn(
            f"{len(conflicts)} images are there twice with different labels, such as {' = '.join(conflicts[0])}"
        )
