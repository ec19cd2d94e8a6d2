"""Telling other programs what happens, whatever becomes of them."""

import io
import json
import math
import os
import sys
import threading

import pytest
from rich.console import Console

from imgclf.console import Terminal
from imgclf.errors import ModelError, UserError
from imgclf.workflow import events
from imgclf.workflow.events import Events

pipes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")


class Ear:
    """A listener that remembers, or fails."""

    def __init__(self, fails: bool = False) -> None:
        self.heard, self.closed, self.fails = [], 0, fails

    def hear(self, event):
        self.heard.append(event["event"])
        if self.fails:
            raise OSError(28, "No space left on device")

    def close(self):
        self.closed += 1


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def terminal(said):
    return Terminal(err=Console(file=said, width=200))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failing_listener_is_warned_about_once_and_the_others_hear_on(terminal, said):
    good, bad = Ear(), Ear(fails=True)
    hub = Events(terminal, {"bad": bad, "good": good})
    with hub.until_the_end():
        for name in ("start", "epoch", "end"):
            hub.tell(name)
    assert (good.heard, bad.heard) == (["start", "epoch", "end"], ["start"])
    assert (good.closed, bad.closed) == (1, 1)
    assert said.getvalue().count("warning: bad: [Errno 28] No space left on device; the run goes on without it") == 1


@pytest.mark.parametrize(
    ("error", "status", "hint"),
    [
        (ModelError("lost", "look"), "failed", "look"),
        (KeyboardInterrupt(), "interrupted", None),
        (ZeroDivisionError("x"), "failed", None),
    ],
)
def test_the_exception_that_ends_a_run_is_told_and_goes_on(tmp_path, make_config, error, status, hint):
    path = tmp_path / "events"
    hub = Events(listeners={"file": events.lines(path, make_config(), Terminal(quiet=True))})
    with pytest.raises(type(error)), hub.until_the_end():
        raise error
    [told] = read(path)
    assert (told["version"], told["event"], told["status"]) == (events.VERSION, "end", status)
    assert told["error"] == {"type": type(error).__name__, "message": str(error), "hint": hint}


def test_lines_are_whole_json_even_of_nan_and_steps_are_left_out(tmp_path, make_config):
    path = tmp_path / "events"
    hub = Events(listeners={"file": events.lines(path, make_config(), Terminal(quiet=True))})
    hub.tell("step", step=1)
    hub.tell("epoch", valid_loss=math.nan, phase="größe\n")
    assert path.read_bytes().count(b"\n") == 1, "flushed while the run goes on"
    with hub.until_the_end():
        pass
    assert {k: read(path)[0][k] for k in ("event", "valid_loss", "phase")} == {
        "event": "epoch", "valid_loss": None, "phase": "größe\n",
    }  # fmt: skip


def test_half_a_line_of_an_earlier_run_does_not_spoil_the_next(tmp_path, make_config):
    path = tmp_path / "events"
    path.write_text('{"event": "start"}\n{"event": "ep')
    made = events.lines(path, make_config(), Terminal(quiet=True))
    made.hear({"event": "start"})
    made.close()
    assert path.read_text().splitlines() == ['{"event": "start"}', '{"event": "ep', '{"event": "start"}']


@pipes
def test_a_reader_that_goes_away_is_warned_about_once(tmp_path, make_config, terminal, said):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)

    def reader() -> None:
        with pipe.open() as stream:
            got.append(json.loads(stream.readline()))

    thread = threading.Thread(target=reader)
    thread.start()
    hub = Events(terminal, {"--events pipe": events.lines(pipe, make_config(), terminal)})
    hub.tell("start")
    thread.join(timeout=30)
    for _ in range(3):
        hub.tell("epoch")
    assert got[0]["event"] == "start"
    assert said.getvalue().count("warning: --events pipe: [Errno 32] Broken pipe") == 1
    assert hub.listeners == {}


def test_where_events_cannot_go(tmp_path, make_config):
    (tmp_path / "photos").mkdir()
    cfg, terminal = make_config(tmp_path / "photos"), Terminal(quiet=True)
    with pytest.raises(UserError, match="standard output is for the result"):
        events.lines(tmp_path.__class__("-"), cfg, terminal)
    with pytest.raises(UserError, match="inside the data folder"):
        events.lines(tmp_path / "photos" / "events", cfg, terminal)
    with pytest.raises(UserError, match=r"--events .*missing/events: cannot be written: No such file"):
        events.lines(tmp_path / "missing" / "events", cfg, terminal)
    with pytest.raises(UserError, match="Is a directory"):
        events.lines(tmp_path, cfg, terminal)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == []
