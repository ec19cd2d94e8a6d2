"""Workers need room in /dev/shm: fewer by themselves, a warning where the user asked for more."""

import pytest

from imgclf.data import loaders, shared_memory
from imgclf.data.images import Preprocess

MB = 10**6


@pytest.mark.parametrize(
    ("room", "workers"),
    [(None, 8), (1000 * MB, 8), (680 * MB, 8), (679 * MB, 7), (200 * MB, 2), (199 * MB, 1), (64 * MB, 0), (0, 0)],
)
def test_no_more_workers_than_there_is_room_for(room, workers, monkeypatch):
    monkeypatch.setattr(shared_memory, "free", lambda: room)
    found, note = shared_memory.afford(8, 40 * MB)
    assert found == workers
    assert bool(note) == bool(shared_memory.warning(8, 40 * MB)) == (workers < 8)


def test_what_the_user_asked_for_stays_and_is_warned_about(make_config, monkeypatch):
    monkeypatch.setattr(shared_memory, "free", lambda: 64 * MB)
    monkeypatch.setattr(loaders, "cores", lambda: 4)
    found, note = loaders._workers(make_config(**{"data.workers": 4}), Preprocess(224), 40 * MB, loaders.CPU)
    assert found == 4
    assert "data.workers: 4 may need 360 MB of shared memory" in note
    found, note = loaders._workers(make_config(), Preprocess(224), 40 * MB, loaders.CPU)
    assert found == 0
    assert "0 workers instead of 4" in note
    assert loaders._workers(make_config(), Preprocess(32), 40 * MB, loaders.CPU) == (0, "")


def test_where_there_is_no_such_folder(monkeypatch):
    monkeypatch.setattr(shared_memory, "FOLDER", "/nonexistent")
    assert shared_memory.free() is None
    assert shared_memory.size() == "there is no /nonexistent"
