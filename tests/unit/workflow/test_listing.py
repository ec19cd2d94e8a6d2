"""What `runs list` and `runs show` tell, from folders made by hand."""

import json
from pathlib import Path

import pytest
from support import run_here

from imgclf import runs
from imgclf.cli import run_view
from imgclf.errors import ModelError, UserError
from imgclf.workflow import listing

LOSSES = "phase,epoch,valid_loss\nfrozen,1,0.9\nunfrozen,1,nan\nunfrozen,2,{last}\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three finished runs, one after another, and one whose files are damaged."""
    for i, (name, lr, error, seconds) in enumerate([("b", 0.1, 0.3, 9), ("a", 0.2, 0.1, 30), ("c", 0.2, 0.2, 5)]):
        config = f"seed: 42\ntrain:\n  lr: {lr}\n  epochs: 3\n  stages: [1, 2]\nmodel:\n  arch: net{min(i, 1)}\n"
        run = runs.create(tmp_path / "runs", name, config, {"arch": f"net{min(i, 1)}"})
        run.update_manifest(started=f"2026-11-2{i}T10:00:00.000+00:00")
        runs.write_text(run.file(runs.HISTORY), LOSSES.format(last=error))
        run.finish("finished", result={"best": {"error_rate": error}, "n_valid": 10 * i, "seconds": seconds})
    damaged = runs.create(tmp_path / "runs", "d", "train: [", {})
    damaged.file(runs.MANIFEST).write_text("{")
    damaged.file(runs.HISTORY).write_text("nothing,here\n1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", "abcd"),
        ("started", "cabd"),
        ("error_rate", "acbd"),
        ("valid_loss", "acbd"),
        ("seconds", "cbad"),
        ("n_valid", "cabd"),
        ("arch", "bacd"),
        ("status", "dabc"),
    ],
)
def test_orders(folder, order, names):
    assert "".join(row["name"] for row in listing.listed(folder / "runs", order)) == names
    assert len(listing.ORDERS) == 8


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'phase,valid_loss\n"frozen', b"phase,valid_loss\nfrozen\n"])
def test_a_damaged_history_hides_no_run(folder, content):
    history = folder / "runs" / "a" / runs.HISTORY
    history.write_bytes(content)
    assert [row["name"] for row in listing.listed(folder / "runs")] == ["a", "b", "c", "d"]
    if content.startswith(b"\xff"):
        with pytest.raises(ModelError, match="cannot read the history"):
            listing.history_rows(runs.Run(folder / "runs" / "a"))


def test_an_unknown_order(folder):
    with pytest.raises(UserError, match="Did you mean 'error_rate'"):
        listing.listed(folder / "runs", "eror_rate")


def test_only_the_keys_that_differ_are_told(folder):
    rows = {row["name"]: row for row in listing.listed(folder / "runs")}
    assert rows["b"]["differs"] == {"train.lr": 0.1, "model.arch": "net0"}
    assert rows["a"]["differs"] == rows["c"]["differs"] == {"train.lr": 0.2, "model.arch": "net1"}
    assert rows["d"]["differs"] is None
    assert rows["a"]["valid_loss"] == [0.9, None, 0.1]
    assert rows["d"]["valid_loss"] == [None]


def test_keys_of_another_version_are_no_difference(folder):
    (folder / "runs" / "c" / runs.CONFIG).write_text("train:\n  lr: 0.2\n  new: 1\n")
    assert listing.listed(folder / "runs")[0]["differs"] == {"train.lr": 0.2}


def test_what_changed_since_the_run_before(folder):
    a = listing.details(runs.Run(folder / "runs" / "a"))
    assert (a["previous"], a["changes"]) == ("b", {"train.lr": [0.1, 0.2], "model.arch": ["net0", "net1"]})
    c = listing.details(runs.Run(folder / "runs" / "c"))
    assert (c["previous"], c["changes"]) == ("a", {})
    b = listing.details(runs.Run(folder / "runs" / "b"))
    assert (b["previous"], b["changes"]) == (None, None)
    assert runs.HISTORY in b["files"]


def test_for_people(folder):
    done = run_here("runs", "list", "--sort", "error_rate", cwd=folder)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "a", "c", "b", "d"]
    assert "█ ▁ 0.1" in lines[1] and "train.lr=0.2, model.arch=net1" in lines[1]
    assert "cannot be read" in lines[4]
    shown = run_here("runs", "show", "a", cwd=folder).stdout
    assert "train.lr: 0.1 → 0.2" in shown
    assert "since b:" in shown
    first = run_here("runs", "show", "b", cwd=folder).stdout
    assert "since" not in first, "nothing was before it"
    assert json.loads(run_here("runs", "list", "--json", cwd=folder).stdout)["runs"][0]["name"] == "a"
    assert run_here("runs", "list", "--sort", "speed", cwd=folder).returncode == 2


def test_one_run_for_people():
    curve = {"shape": "one_cycle", "pct_start": 0.3, "div": 5.0}
    phases = [
        {"name": "probe", "epochs": 1, "steps": 0, "lrs": [0.0], "curve": {**curve, "shape": "closed_form"}},
        {"name": "unfrozen", "epochs": 3, "steps": 12, "lrs": [1e-5, 1e-4, 1e-3], "curve": curve},
        {"name": "extend1", "epochs": 1, "steps": 4, "lrs": [], "curve": curve},
    ]
    accuracy = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}
    run = {
        "run_dir": "runs/a", "status": "failed", "error": "DataError: gone", "valid_loss": [0.5, 0.25], "files": ["x"],
        "started": "2026-11-25T18:23:35.418+00:00", "data_root": "/d", "arch": "resnet18", "device": "cpu",
        "checks": {"bad": 1, "leaks": 0, "near_duplicates": 2}, "plan": {"phases": phases, "reason": "because"},
        "learning_rates": {"lr": {"value": 0.001, "reason": "as given"}}, "previous": "b", "changes": {},
        "result": {
            "metrics": {"accuracy": accuracy}, "n_train": 4000, "n_valid": 100, "seconds": 12.3,
            "best": {"error_rate": 0.1, "phase": "unfrozen", "epoch": 2, "metric": "error_rate"},
        },
    }  # fmt: skip
    assert dict(run_view.rows(run)) == {
        "run": "runs/a", "status": "failed: DataError: gone", "started": "2026-11-25 18:23, 12 s", "data": "/d",
        "images": "4,000 for training, 100 for validation", "check": "1 bad, 2 near duplicates", "model": "resnet18",
        "device": "cpu", "error rate": "0.100 (0.050–0.200, n=100)", "best epoch": "unfrozen 2, by error_rate",
        "validation loss": "█▁ 0.25",
        "plan": "probe: computed\nunfrozen: 3 epochs, 12 steps, lr 1e-05 … 0.0001 … 0.001\n"
        "extend1: 1 epoch, 4 steps, lr not found\nbecause",
        "learning rate": "0.001: as given", "changed": "since b: nothing", "files": "x",
    }  # fmt: skip


@pytest.mark.parametrize("figure", ["value", "low", "high"])
def test_an_interval_without_one_of_its_figures_is_not_told(tmp_path, figure):
    accuracy = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 20, figure: None}
    run = runs.create(tmp_path, "a", "", {})
    run.finish("finished", result={"best": {"error_rate": 0.1}, "metrics": {"accuracy": accuracy}})
    told = dict(run_view.rows(listing.details(run)))["error rate"]
    assert told == ("0.100 (0.050–0.200, n=20)" if figure == "value" else "0.100")
