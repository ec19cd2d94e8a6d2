"""The run folder: the name of every file in it, and how it is created, found and written.

Every file is written to a temporary name and renamed, so that a killed process leaves whole files only.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from imgclf import disk, locks, ranks
from imgclf.errors import ModelError, UserError, did_you_mean

CONFIG = "config.yaml"
MANIFEST = "manifest.json"
SPLIT = "split.csv"
HISTORY = "history.csv"
LOG = "train.log"
CHECKPOINT = "last.ckpt"
LR_FIND_PLOT = "lr_find.png"
LR_FIND_DATA = "lr_find.json"
LR_FIND_UNFROZEN_PLOT = "lr_find_unfrozen.png"
LR_FIND_UNFROZEN_DATA = "lr_find_unfrozen.json"
WEIGHTS = "model.safetensors"
RECORD = "model.json"
PLOTS = "plots"
EXPORT = "export"
TRACKERS = "trackers"
EXPLAIN = "explain"
EVAL_REPORT = "eval/report.json"
PREDICTIONS = "eval/predictions.csv"
REPORT = "report.html"
REVIEW = "review.html"
CARD = "MODEL_CARD.md"

LATEST = "latest"
AUTO = "auto"  # as a reference: the run of a given name, if it is there
# Windows' names of devices, whatever follows after a dot.
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³")}
OLD = 600  # seconds after which a folder nobody has locked yet is nobody's
# As ``atomic_write`` names them; and safetensors, which writes to a temporary file of its own.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?|\.tmp\w{6}")

PROCESS = secrets.token_hex(8)  # beside its number, which in containers every process may have

Status = Literal["running", "finished", "interrupted", "failed"]


def atomic_write(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then rename it onto ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed ``atomic_write`` left in a folder that nobody else is writing."""
    for path in folder.rglob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8, whole or not at all."""
    return atomic_write(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> Path:
    """Write ``data`` as readable JSON, whole or not at all."""
    return write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def file(self, name: str) -> Path:
        """The path of one of the files named at the head of this module."""
        return self.path / name

    def manifest(self) -> dict[str, Any]:
        """What is known about the run: versions, command, seed, data, status.

        Raises:
            ModelError: if the folder has no readable manifest.
        """
        from imgclf import shapes

        return shapes.read(self.file(MANIFEST), shapes.Manifest, f"is {self.path} a run folder, and whole?")

    def update_manifest(self, **values: Any) -> None:
        """Set some of the manifest's values; of several processes the first does."""
        if not ranks.is_first():
            return
        write_json(self.file(MANIFEST), {**self.manifest(), **values})

    def finish(self, status: Status, **values: Any) -> None:
        """Close the run with its last status."""
        self.update_manifest(status=status, finished=_now(), **values)


def create(runs_dir: Path, name: str, config_text: str, manifest: dict[str, Any]) -> Run:
    """Make the run folder with ``config.yaml`` and ``manifest.json`` in it, before anything else happens.

    It is filled under a temporary name and renamed, so that a process killed meanwhile leaves no half of a run that
    takes its name; what it leaves is hidden, and removed when the next run is made.

    Raises:
        UserError: if it cannot be a name.
        ModelError: if the name is taken, or the folder cannot be written.
    """
    _check_name(name)
    run = Run(runs_dir / name)
    began = {"name": name, "status": "running", "started": _now(), **this_process(), **manifest}
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        if not run.path.exists():
            _make(run.path, {CONFIG: lambda p: write_text(p, config_text), MANIFEST: lambda p: write_json(p, began)})
            return run
    except OSError as e:
        if not run.path.exists():
            full = disk.is_full(e)
            raise ModelError(
                f"cannot make the run folder {run.path}: {e.strerror}",
                f"{'make room, or ' * full}choose a {'writable' if not full else 'roomier'} folder: --runs-dir FOLDER",
            ) from e
    raise ModelError(
        f"the run folder {run.path} exists already",
        f"go on with it: imgclf train --resume {name}; or choose another name: --name {free_name(runs_dir, name)}",
    )


def _check_name(name: str) -> None:
    """Refuse what is no folder's name on every system: a run is copied from one to another."""
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise UserError(f"'{name}' cannot be a run's name", "use letters, digits, '.', '_', '+' and '-'")
    if name in (LATEST, AUTO):
        raise UserError(f"'{name}' cannot be a run's name: --resume {name} means something else", "choose another")
    if name.endswith(".") or name.partition(".")[0].upper() in DEVICES:
        raise UserError(
            f"'{name}' cannot be a run's name: Windows has no such folder",
            f"for example: --name run-{name.rstrip('.')}",
        )


def _make(path: Path, files: dict[str, Callable[[Path], object]]) -> None:
    """A folder with these files, whole or not at all. Raises OSError, also if it is there by now."""
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with locks.held(temporary):  # while it is being filled, nobody takes it for a dead process's
            _remove_half_made(path.parent, temporary)
            for name, write in files.items():
                write(temporary / name)
        (temporary / locks.LOCK).unlink(missing_ok=True)
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _remove_half_made(runs_dir: Path, new: Path) -> None:
    """Remove the folders that killed processes were about to fill.

    Args:
        new: The folder just made: its time is the file system's present, whatever a clock here says.
    """
    now = new.stat().st_mtime
    for path in runs_dir.glob(".*"):
        with contextlib.suppress(OSError):
            if path == new or not TEMPORARY.fullmatch(path.name) or path.is_symlink() or not _half_made(path):
                continue
            same = path.name.rpartition(".")[0] == new.name.rpartition(".")[0]  # killed before it had a lock
            if same or (path / locks.LOCK).exists() or now - path.stat().st_mtime > OLD:
                shutil.rmtree(path, ignore_errors=True)


def _half_made(path: Path) -> bool:
    """Whether a folder holds nothing but what ``_make`` puts there, and no process is at it."""
    names = {p.name for p in path.iterdir() if not TEMPORARY.fullmatch(p.name)}
    return names <= {CONFIG, MANIFEST, locks.LOCK} and not locks.is_held(path)


def this_process() -> dict[str, Any]:
    """What a manifest says of the process that trains."""
    return {"pid": os.getpid(), "process": PROCESS}


def free_name(runs_dir: Path, stem: str) -> str:
    """``stem``, or ``stem-2``, ``stem-3`` …: the first that is not taken."""
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 100_000))
    return next(name for name in names if not (runs_dir / name).exists())


def new_name(runs_dir: Path, arch: str) -> str:
    """A name that sorts by time: ``20261121-2210-resnet18``."""
    return free_name(runs_dir, f"{datetime.now():%Y%m%d-%H%M}-{arch}")


def find(reference: str | None, runs_dir: Path) -> Run:
    """A run by its folder or name; without a reference, the newest finished one.

    Raises:
        ModelError: if there is none.
    """
    if reference is not None:
        for path in (Path(reference), runs_dir / reference):
            if (path / MANIFEST).is_file():
                return Run(path if path.name.strip(".") else path.resolve())  # of "." its name is its folder's
        names = [run.name for run in all_runs(runs_dir)]
        raise ModelError(
            f"no run '{reference}': neither a run folder nor a name under {runs_dir}.{did_you_mean(reference, names)}",
            "`imgclf runs list` shows the runs; --runs-dir says where they are",
        )
    finished = [run for run in all_runs(runs_dir) if status(run) == "finished"]
    if not finished:
        raise ModelError(
            f"there is no finished run under {runs_dir}", "train one with `imgclf train`, or use --runs-dir"
        )
    return max(finished, key=lambda run: run.manifest().get("finished", ""))


def find_unfinished(reference: str, runs_dir: Path) -> Run:
    """A run to go on with: by folder or name, or with ``latest`` the newest that is not finished.

    Raises:
        ModelError: if there is none.
    """
    if reference != LATEST:
        return find(reference, runs_dir)
    left = [run for run in all_runs(runs_dir) if status(run) in ("killed", "interrupted", "failed")]
    if not left:
        raise ModelError(f"there is no unfinished run under {runs_dir}", "`imgclf runs list` shows the runs")
    return max(left, key=lambda run: run.manifest().get("started", ""))


def all_runs(runs_dir: Path) -> list[Run]:
    """The runs under a folder, by name; folders that are not runs are passed over."""
    return [Run(p.parent) for p in sorted(runs_dir.glob(f"*/{MANIFEST}")) if not p.parent.name.startswith(".")]


def status(run: Run) -> str:
    """The run's status, or ``killed``, or ``damaged``: one bad manifest must not hide the other runs."""
    try:
        manifest = run.manifest()
    except ModelError:
        return "damaged"
    # Opening the lock in the process that holds it would let it go.
    own = this_process().items() <= manifest.items()
    dead = manifest["status"] == "running" and not own and not locks.is_held(run.path)
    return "killed" if dead else str(manifest["status"])


@contextlib.contextmanager
def recorded(run: Run) -> Iterator[None]:
    """Mark the run ``failed`` (or ``interrupted``) if the block ends in an exception nobody has recorded."""
    try:
        yield
    except BaseException as e:
        if not ranks.is_first():
            raise
        with contextlib.suppress(ModelError, OSError):  # a full disk or a vanished folder: the first error tells more
            if run.manifest()["status"] == "running":
                status: Status = "interrupted" if isinstance(e, KeyboardInterrupt) else "failed"
                run.finish(status, error=f"{type(e).__name__}: {e}"[:500])
        raise


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
