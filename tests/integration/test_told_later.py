"""Where a device is given its next step before the last one's loss is read, a run is the same one."""

import json

import pytest
import shapes
from support import history, run_here, stopping

from imgclf.training import watch

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("later"), per_class=10)


@pytest.fixture
def _later(monkeypatch):
    monkeypatch.setattr(watch, "LATER", {"cpu": 1})


def train(folder, name, *more):
    return run_here("train", *shapes.pretrained(folder), "-e", "2", "--name", name, "--json", *more, cwd=folder)


def rows(folder, name):
    return [{**row, "seconds": None} for row in history(folder / "runs" / name)]


def test_its_history_is_that_of_a_run_told_at_once(folder, monkeypatch):
    shown = {}
    for name, later in (("at-once", {}), ("later", {"cpu": 1})):
        with monkeypatch.context() as patch:
            steps = shown.setdefault(name, [])
            patch.setattr(watch, "LATER", later)
            patch.setattr(watch.Display, "training", lambda self, *facts, into=steps: into.append(facts[:5]))
            assert train(folder, name).returncode == 0
    assert rows(folder, "at-once") == rows(folder, "later")
    assert shown["at-once"] == shown["later"] and len(shown["later"]) == 6  # each step once, in order


def test_a_loss_that_is_no_number_ends_it(folder, _later):
    done = train(folder, "lost", "--lr", "1e9")
    assert done.returncode == 4
    assert "became" in json.loads(done.stdout)["error"]["message"]


def test_stopped_and_resumed_it_ends_with_the_same_bits(folder, _later, monkeypatch):
    assert train(folder, "whole").returncode == 0
    with stopping(monkeypatch, at=2):
        assert train(folder, "stopped").returncode == 130
    assert run_here("train", "--resume", "stopped", cwd=folder).returncode == 0
    assert rows(folder, "stopped") == rows(folder, "whole")
