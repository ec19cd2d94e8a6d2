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


def train(folder, name, *more):
    return run_here("train", *shapes.pretrained(folder), "-e", "2", "--name", name, "--json", *more, cwd=folder)


def rows(folder, name):
    return [{**row, "seconds": None} for row in history(folder / "runs" / name)]


def shown(folder, name, patch, later):
    """What the display is told of the steps of a run."""
    steps = []
    patch.setattr(watch, "LATER", later)
    patch.setattr(watch.Display, "training", lambda self, *facts: steps.append(facts[:5]))
    assert train(folder, name).returncode == 0
    return steps


@pytest.fixture(scope="module")
def at_once(folder):
    with pytest.MonkeyPatch.context() as patch:
        return shown(folder, "at-once", patch, {})


@pytest.fixture
def _later(at_once, monkeypatch):
    monkeypatch.setattr(watch, "LATER", {"cpu": 1})


def test_its_history_is_that_of_a_run_told_at_once(folder, at_once):
    with pytest.MonkeyPatch.context() as patch:
        later = shown(folder, "later", patch, {"cpu": 1})
    assert rows(folder, "at-once") == rows(folder, "later")
    assert at_once == later and len(later) == 6  # each step once, in order


def test_a_loss_that_is_no_number_ends_it(folder, _later):
    done = train(folder, "lost", "--lr", "1e9")
    assert done.returncode == 4
    assert "became" in json.loads(done.stdout)["error"]["message"]


def test_stopped_and_resumed_it_ends_with_the_same_bits(folder, _later, monkeypatch):
    with stopping(monkeypatch, at=2):
        assert train(folder, "stopped").returncode == 130
    assert run_here("train", "--resume", "stopped", cwd=folder).returncode == 0
    assert rows(folder, "stopped") == rows(folder, "at-once")
