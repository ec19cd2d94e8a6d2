"""Other programs follow a run: JSON lines and trackers."""

import csv
import json
from pathlib import Path

import pytest
import shapes
from support import run_here

TINY = [
    *("-a", "resnet18", "--size", "32", "--presize", "40", "-b", "6", "-e", "0", "--freeze-epochs", "1"),
    *("--set", "data.workers=0", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--set", "model.cut=-4"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("events") / "images", per_class=8)


def told(path: Path, *kinds: str) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if not kinds or line["event"] in kinds]


def test_events_tell_what_the_history_holds_and_a_resumed_run_goes_on_in_the_file(images, tmp_path):
    file = tmp_path / "events.jsonl"
    done = run_here(
        "train", "-d", images, *TINY, "--lr", "0.003", "--name", "a", "--events", file, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    first = told(file)
    assert [e["event"] for e in first if e["event"] != "best"] == [
        "start", "lr", "plan", "checkpoint", "epoch", "checkpoint", "end",
    ]  # fmt: skip
    start, lr, plan, end = (told(file, kind)[0] for kind in ("start", "lr", "plan", "end"))
    assert (start["run"], start["resumed"], start["config"]["train"]["epochs"]) == ("a", False, 0)
    assert (lr["lr"], lr["reason"]) == (0.003, "as given")
    assert (plan["n_train"], plan["steps"], [p["name"] for p in plan["phases"]]) == (18, 3, ["frozen"])
    assert (end["status"], end["result"]) == ("finished", done.json)

    more = run_here("train", "--resume", "a", "--extend", "1", "--events", file, "-q", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert told(file)[: len(first)] == first
    assert [e["resumed"] for e in told(file, "start")] == [False, True]
    with (tmp_path / "runs" / "a" / "history.csv").open(newline="") as stream:
        history = list(csv.DictReader(stream))
    epochs = told(file, "epoch")
    assert [{key: str(e[key]) for key in history[0]} for e in epochs] == history
    assert [e["step"] for e in epochs] == [3, 6]
    best = dict.fromkeys((e["phase"], e["epoch"]) for e in told(file, "best"))  # resuming may write one again
    assert list(best) == [(r["phase"], int(r["epoch"])) for r in history if r["best"] == "True"]


def test_a_run_that_never_began_keeps_no_file_open(images, tmp_path, monkeypatch):
    from imgclf.workflow import events

    closed = []
    monkeypatch.setattr(events.Lines, "close", lambda self: closed.append(self.stream.close()))
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    done = run_here("train", "-d", images, *TINY, "--name", "taken", "--events", "events.jsonl", cwd=tmp_path)
    assert (done.returncode, "exists already" in done.stderr, len(closed)) == (4, True, 1)


def test_a_failed_run_says_so_and_mistakes_leave_no_run(images, tmp_path):
    file = tmp_path / "events.jsonl"
    done = run_here("train", "-d", images, *TINY, "--lr", "1e30", "--events", file, "--json", cwd=tmp_path)
    assert done.returncode == 4
    end = told(file)[-1]
    assert (end["event"], end["status"]) == ("end", "failed")
    assert end["error"]["message"] == done.json["error"]["message"]
    before = list((tmp_path / "runs").iterdir())
    for wrong, said in (["-"], "standard output"), ([images / "e"], "data folder"), ([file, "--dry-run"], "--dry-run"):
        done = run_here("train", "-d", images, *TINY, "--events", *wrong, "--json", cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.json["error"]["message"]
    assert list((tmp_path / "runs").iterdir()) == before
