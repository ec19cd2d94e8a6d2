"""Worker processes hear no request to end, and end all the same: by their parent's hand, or with it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ROOT

from imgclf.data import workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def work(settled, go_on) -> None:
    """A worker that goes on until told."""
    workers.settle()
    settled.set()
    go_on.wait(60)


@pytest.fixture(params=["fork", "spawn"])
def started(request):
    """A worker, the event it waits for, and whether it has begun."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    settled, go_on = multiprocessing.Event(), multiprocessing.Event()
    process = workers.Context().Process(target=work, args=(settled, go_on))
    process.daemon = True
    process.start()
    yield process, settled, go_on
    process.kill()
    process.join()
    multiprocessing.set_start_method(before, force=True)


def test_a_worker_hears_no_signal_at_any_time(started):
    process, settled, go_on = started
    for number in workers.DEAF_TO:
        os.kill(process.pid, number)  # a spawned one has not even begun
    assert settled.wait(60)
    for number in workers.DEAF_TO:
        os.kill(process.pid, number)
    process.join(0.3)
    assert process.is_alive()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(workers.DEAF_TO) == set()  # here they are as before
    go_on.set()
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("started", ["fork"], indirect=True)
def test_whoever_started_it_ends_it(started):
    process, settled, _ = started
    assert settled.wait(60)
    process.terminate()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


SCRIPT = """
import multiprocessing, os, sys, time
sys.path.insert(0, {root!r})
from imgclf.data import workers

def work(settled):
    workers.settle()
    settled.set()
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    settled = multiprocessing.Event()
    process = workers.Context().Process(target=work, args=(settled,))
    process.daemon = True
    process.start()
    settled.wait()
    print(process.pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("end", ["killed", "done"])
def test_no_worker_outlives_the_process_that_started_it(tmp_path, start, end):
    """Killed, or at its end with a worker still at work: an interpreter would wait for that for ever."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT)))
    done = subprocess.run([sys.executable, script, start, end], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == (-9 if end == "killed" else 0), done.stderr
    until = time.monotonic() + 5
    while (alive := _runs(int(done.stdout))) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_signal_raised_in_the_middle_of_a_start_leaves_nobody_who_cannot_be_ended(monkeypatch):
    """Python itself ends what is left by the handle's ``terminate``, then waits for it, for ever if need be."""

    def struck(*_):
        raise KeyboardInterrupt

    start = multiprocessing.Process.start

    def start_and_be_asked(self):
        start(self)
        os.kill(os.getpid(), signal.SIGINT)  # held back until the handle is what it should be

    monkeypatch.setattr(multiprocessing.Process, "start", start_and_be_asked)
    before = signal.signal(signal.SIGINT, struck)
    process = workers.Context().Process(target=time.sleep, args=(60,))
    process.daemon = True
    try:
        with pytest.raises(KeyboardInterrupt):
            process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    process._popen.terminate()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL


def test_a_pass_that_ends_while_a_tensor_is_handed_over_is_no_error_to_show():
    """Somebody asks Python's thread for it and hangs up; any other error of a thread is shown."""
    code = """if True:
        import socket, sys, time
        from multiprocessing import resource_sharer
        from imgclf.data import workers
        workers.settle()
        address, _ = resource_sharer.DupFd(1)._id
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(address)
        time.sleep(0.5)
        sys.excepthook(ValueError, ValueError("of another kind"), None)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    shown = done.stderr.splitlines()
    assert "ValueError: of another kind" in shown
    assert "resource_sharer" not in done.stderr and "Broken" not in done.stderr and "EOF" not in done.stderr
