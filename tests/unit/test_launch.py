"""``train --devices N``: what the first command makes of the end of its processes."""

import sys

import pytest
from torch.multiprocessing.spawn import ProcessExitedException

from imgclf.cli import launch
from imgclf.console import Terminal
from imgclf.errors import EXIT_BUG, ProcessLost

SPAWN = sys.modules["torch.multiprocessing.spawn"]  # a function of its package has the same name


class Context:
    """Two processes, of which one has been killed."""

    def __init__(self, killed: int) -> None:
        self.killed, self.processes = killed, []

    def join(self, grace_period: float) -> bool:
        raise ProcessExitedException("gone", error_index=self.killed, error_pid=1, exit_code=-9, signal_name="SIGKILL")


def test_a_first_process_that_was_killed_is_told_as_a_failure_of_no_user(monkeypatch):
    monkeypatch.setattr(SPAWN, "start_processes", lambda *_, **__: Context(killed=0))
    with pytest.raises(ProcessLost, match="process 0 of 2 was ended by SIGKILL") as told:
        launch.launch([], 2, Terminal(quiet=True))
    assert told.value.exit_code == EXIT_BUG


def test_of_any_other_the_first_has_told(monkeypatch):
    monkeypatch.setattr(SPAWN, "start_processes", lambda *_, **__: Context(killed=1))
    assert launch.launch([], 2, Terminal(quiet=True)) == EXIT_BUG
