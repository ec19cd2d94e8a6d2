"""What else happens to runs: disks that are full or refuse writing, images that change, a second process, clocks."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from scripts.chaosing import state
from scripts.chaosing.killing import LEAN, PATIENCE, Place, no_pictures, tracebacks
from scripts.chaosing.processes import Started, forked, of_session

YEAR = timedelta(days=365)
SPACES = (0.004, 0.02, 0.25, 0.5, 0.7, 0.85, 0.93, 0.97, 1.0, 1.2)  # of what a finished run takes
EACH_STEP = ("--set", "train.checkpoint_minutes=0")


class Skipped(Exception):
    """This machine does not allow it."""


class Case:
    """One run of the ``book`` recipe in its own folder, what was found wrong, and how many things were looked at."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.found, self.looks = place, list[str](), 0
        self.folder = place.folder / f"fault-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.runs = self.folder / "runs"
        self.runs.mkdir(parents=True)
        self.run, self.log = self.runs / "run", self.folder / "log.txt"
        self.images = shutil.copytree(place.folder / "images", self.folder / "images")
        self.whole = place.whole("book")

    def start(self, *arguments: str, workers: int = 0, prepare: Callable[[], object] = lambda: None) -> Started:
        """`imgclf train` with these arguments; without any, the run from its beginning."""
        settings = [*self.place.settings("book", workers), "-d", str(self.images), *LEAN, *EACH_STEP]

        def prepared() -> None:
            no_pictures()
            prepare()

        self.log.write_text("")
        return forked(["train", *(arguments or settings)], self.folder, self.log, prepared)

    def resume(self, **how: Any) -> Started:
        return self.start("--resume", "run", **how)

    def half(self, **how: Any) -> None:
        """Train until some steps are saved, then kill."""
        process = self.start(**how)
        self.until(lambda: (self.run / "history.csv").exists(), process)
        process.send(signal.SIGKILL, group=True)
        process.wait(PATIENCE)

    def until(self, true: Callable[[], bool], process: Started) -> None:
        """Wait for something a process does."""
        while not true() and process.wait(0.01) is None:
            pass

    def refused(self, process: Started, code: int, *words: str) -> None:
        """See that a process ends with that exit code and tells the user these words, and leaves the folder whole."""
        got, text = process.wait(PATIENCE), " ".join(self.log.read_text(errors="replace").split())
        self.see(got == code, f"exit code {got} instead of {code}: {text[-600:]}")
        for word in words:
            self.see(word in text, f"not told '{word}': {text[-600:]}")
        self.whole_files()

    def whole_files(self) -> None:
        """See that every file can be read, and nobody was shown a traceback."""
        for fault in (*state.faults_between(self.runs), *tracebacks(self.log)):
            self.see(False, fault)

    def done(self, process: Started) -> None:
        """See that a process finishes the run, and that it equals the undisturbed one."""
        code = process.wait(PATIENCE)
        self.see(code == 0, f"exit code {code}: {self.log.read_text(errors='replace')[-600:]}")
        self.whole_files()
        if state.finished(self.run):
            for fault in state.faults_at_the_end(self.run, self.whole):
                self.see(False, fault)
        self.see(state.finished(self.run), "it is not finished")

    def see(self, right: bool, fault: str) -> None:
        self.looks += 1
        if not right:
            self.found.append(fault)


@contextlib.contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """A mount within the block; raises Skipped where that is not allowed."""
    done = subprocess.run(["mount", *arguments, str(at)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def full_disk(case: Case) -> None:
    """File systems of several sizes fill up, from the first file to the last; with more room the run goes on."""
    needed = sum(p.stat().st_size for p in case.whole.rglob("*") if p.is_file())
    for space in SPACES:
        size = max(4096 * 3, int(needed * space))
        with mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", at=case.runs):
            process = case.start()
            if process.wait(PATIENCE) != 0:
                first = f"{size} bytes: "
                made = (case.run / "manifest.json").exists()
                before = len(case.found)
                case.refused(process, 4, *([] if made else ["cannot make the run folder"]), "make room")
                case.found[before:] = [first + text for text in case.found[before:]]
            subprocess.run(["mount", "-o", "remount,size=200m", str(case.runs)], check=True)
            if not state.finished(case.run):
                case.done(case.resume() if case.run.exists() else case.start())
            else:
                case.done(process)


def read_only(case: Case) -> None:
    """The folder of runs cannot be written to: for a new run, and for one that goes on."""
    case.half()
    with mounted("--bind", str(case.runs), at=case.runs):
        done = subprocess.run(["mount", "-o", "remount,ro,bind", str(case.runs)], capture_output=True, check=False)
        if done.returncode:
            raise Skipped("cannot mount read-only")
        case.refused(case.resume(), 4, "cannot be written to", "Read-only file system")
        settings = [*case.place.settings("book", 0), "--name", "other"]
        case.refused(case.start(*settings), 4, "cannot make the run folder", "Read-only file system")
    case.done(case.resume())


def removed_image(case: Case) -> None:
    """An image goes away: between two starts, and under a run that has looked at it already."""
    image = sorted(case.images.rglob("*.png"))[3]
    content = image.read_bytes()
    case.half()
    image.unlink()
    case.refused(case.resume(), 3, "the images are not those")
    image.write_bytes(content)
    process = case.resume(workers=2)
    case.until(lambda: "training" in case.log.read_text(errors="replace"), process)
    image.unlink()
    if process.wait(PATIENCE) != 0:  # 0: it was not needed any more
        case.refused(process, 3, image.name)
    image.write_bytes(content)
    if not state.finished(case.run):
        process = case.resume()
    case.done(process)


def changed_image(case: Case) -> None:
    """Another picture under the name, by size or by content alone."""
    image = sorted(case.images.rglob("*.png"))[3]
    content, facts = image.read_bytes(), image.stat()
    case.half()
    other = sorted(case.images.rglob("*.png"))[4].read_bytes()
    damaged = bytearray(content)
    damaged[-20] ^= 255
    for changed, kept in ((bytes(damaged), True), (bytes(damaged), False), (other, False)):
        image.write_bytes(changed)
        if kept:  # size and time, as by a copy that keeps the times
            os.utime(image, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        case.refused(case.resume(), 3, "the images are not those")
    image.write_bytes(content)
    case.done(case.resume())


def two_processes(case: Case) -> None:
    """A second process wants the run that one trains; and several want it, or its name, at the same moment."""
    process = case.start(workers=2)
    case.until(lambda: (case.run / "last.ckpt").exists(), process)
    first, case.log = case.log, case.folder / "second.txt"
    case.refused(case.resume(), 4, "is being trained by another process")
    case.log = first
    case.done(process)
    for _ in range(3):
        shutil.rmtree(case.run)
        _race(case, [])
        if (case.run / "manifest.json").exists() and not state.finished(case.run):
            _race(case, ["--resume", "run"])


def _race(case: Case, arguments: list[str]) -> None:
    """Three at once: one does the work, the others are refused."""
    logs = [case.folder / f"race-{n}.txt" for n in range(3)]
    started = []
    for case.log in logs:
        started.append(case.start(*arguments))
    case.until(lambda: (case.run / "last.ckpt").exists() or bool(arguments), started[0])
    codes = [process.wait(PATIENCE) for process in started]
    case.see(sorted(codes, key=str) == [0, 4, 4], f"exit codes {codes}")
    for case.log in logs:
        case.whole_files()
    for fault in state.faults_at_the_end(case.run, case.whole):
        case.see(False, fault)


def clock_set_back(case: Case) -> None:
    """A run goes on in the past, on files of the future; and one lives through the moment the clock is set back."""
    case.half()
    coming = time.time() + YEAR.total_seconds()
    for path in case.run.rglob("*"):
        os.utime(path, (coming, coming))
    case.done(case.resume(prepare=lambda: set_back(YEAR)))
    shutil.rmtree(case.run)
    case.half(prepare=lambda: set_back(YEAR, after=3.0))
    case.done(case.start("--resume", "latest", prepare=lambda: set_back(2 * YEAR, after=2.0)))


def set_back(by: timedelta, after: float = 0.0) -> None:
    """Let Python's clocks of this process stand earlier, from so many seconds on; the monotonic ones go on."""
    then, real, real_ns = time.monotonic() + after, time.time, time.time_ns

    def past() -> bool:
        return time.monotonic() >= then

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "datetime":  # type: ignore[override]
            return datetime.now(tz) - (by if past() else timedelta())

    seconds = by.total_seconds()
    time.time = lambda: real() - seconds * past()
    time.time_ns = lambda: real_ns() - int(seconds * 1e9) * past()
    for name, module in list(sys.modules.items()):
        if name.startswith("imgclf") and getattr(module, "datetime", None) is datetime:
            module.datetime = Earlier  # type: ignore[attr-defined]


def spawned_workers(case: Case) -> None:
    """Worker processes that are spawned, as on Windows: a signal to the whole group while they start is theirs too."""

    def spawn() -> None:
        import multiprocessing

        multiprocessing.set_start_method("spawn", force=True)

    process = case.start(workers=2, prepare=spawn)
    case.until(lambda: len(of_session(process.pid)) > 2, process)  # a worker beside the trackers of shared memory
    process.send(signal.SIGTERM, group=True)
    code = process.wait(PATIENCE)
    case.see(code == 130, f"exit code {code}: {case.log.read_text(errors='replace')[-600:]}")
    case.see(not process.survivors(state.MOST_SECONDS_ORPHANED), "processes run on")
    case.whole_files()
    case.done(case.resume(workers=2))


FAULTS: dict[str, Callable[[Case], None]] = {
    "full-disk": full_disk,
    "read-only": read_only,
    "removed-image": removed_image,
    "changed-image": changed_image,
    "two-processes": two_processes,
    "clock": clock_set_back,
    "spawn": spawned_workers,
}


def attack(place: Place, name: str) -> dict[str, Any]:
    """One fault: how much was looked at, what was found, or why it was skipped."""
    case, began = Case(place, name), time.monotonic()
    skipped = ""
    try:
        FAULTS[name](case)
    except Skipped as e:
        skipped = str(e)
    if not case.found:
        shutil.rmtree(case.folder, ignore_errors=True)
    return {
        "name": name, "looks": case.looks, "faults": case.found, "skipped": skipped,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
