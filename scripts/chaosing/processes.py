"""Start imgclf so that it can be killed for real: each start a process with a session of its own, quick by forking."""

import atexit
import contextlib
import faulthandler
import importlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HEAVY = (
    "torch", "torchvision", "fastai.vision.all", "matplotlib.pyplot", "sklearn.linear_model", "sklearn.metrics",
    "scipy.optimize", "scipy.stats", "pandas", "imgclf.cli.app", "imgclf.cli.train", "imgclf.workflow.train",
    "imgclf.workflow.resume", "imgclf.workflow.fitting", "imgclf.workflow.session", "imgclf.workflow.keeping",
    "imgclf.workflow.look", "imgclf.workflow.report", "imgclf.workflow.environment",
)  # fmt: skip
LOOK_SECONDS = 0.003


def warm_up() -> None:
    """Import what a training imports, in one thread: a fork has only the thread that forks."""
    # A shell starts what runs in the background with SIGINT ignored, and new interpreters would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in HEAVY:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise SystemExit(f"{threads} threads run after the imports: processes forked from here could hang")


@dataclass
class Started:
    """A process that runs imgclf, and whose number is that of its session and process group too."""

    pid: int
    started: float = field(default_factory=time.monotonic)
    popen: subprocess.Popen[bytes] | None = None
    code: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None if it still runs after so many seconds."""
        until = time.monotonic() + seconds
        while self._poll() is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        return self.code

    def _poll(self) -> int | None:
        if self.code is None and self.popen is not None:
            self.code = self.popen.poll()
        elif self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def send(self, number: signal.Signals, group: bool) -> None:
        """Send a signal to the process alone, or to its whole group, as Ctrl-C in a terminal and queues do."""
        try:
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)
        except ProcessLookupError:  # no group yet: it has just been forked
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self) -> None:
        """End what hangs, which shows in its log where it does."""
        self.send(signal.SIGABRT, group=True)
        self.wait(5)
        self.send(signal.SIGKILL, group=True)
        self.wait(5)

    def survivors(self, seconds: float) -> list[int]:
        """The processes of its session that run on, if they still do after so many seconds."""
        until = time.monotonic() + seconds
        while (left := of_session(self.pid)) and time.monotonic() < until:
            time.sleep(0.02)
        return left


def of_session(session: int) -> list[int]:
    """The processes of a session that have not ended; those nobody has asked for their exit code have."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def forked(arguments: Sequence[str], folder: Path, log: Path, prepare: Callable[[], object] = lambda: None) -> Started:
    """imgclf in a fork of this process, with all modules imported already.

    Args:
        prepare: Called in the new process first.
    """
    pid = os.fork()
    if pid:
        return Started(pid)
    code = 1
    try:
        _settle(arguments, folder, log)
        prepare()
        code = _run(list(arguments))
    finally:
        os._exit(code)


def begun(arguments: Sequence[str], folder: Path, log: Path, prepare: object = None) -> Started:
    """imgclf as a user starts it: a new interpreter, in which nothing can be prepared."""
    with log.open("ab") as stream:
        popen = subprocess.Popen(
            [sys.executable, "-m", "imgclf", *arguments],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    return Started(popen.pid, popen=popen)


def _settle(arguments: Sequence[str], folder: Path, log: Path) -> None:
    """Be as a process that a shell has started."""
    os.setsid()
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, out), (2, out)):
        os.dup2(source, target)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    faulthandler.enable(sys.stderr)
    sys.argv = ["imgclf", *arguments]
    from imgclf import runs

    runs.PROCESS = secrets.token_hex(8)  # made at import: that of every other fork


def _run(arguments: list[str]) -> int:
    """The command and the end of an interpreter; returns the exit code."""
    from imgclf.cli.app import main

    code, stopped = 0, False
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        traceback.print_exc()
        code, stopped = 1, isinstance(error, KeyboardInterrupt)
    with contextlib.suppress(KeyboardInterrupt):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    if stopped:  # as an interpreter ends that nobody stopped from being interrupted
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code
