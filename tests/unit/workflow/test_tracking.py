"""Trackers get every step once, whatever becomes of the run; the real tools where they are installed."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgclf.console import Terminal
from imgclf.errors import ConfigError, PackageError
from imgclf.runs import Run
from imgclf.workflow import tracking
from imgclf.workflow.events import Events
from imgclf.workflow.trackers import TRACKERS

STEPS, PER_EPOCH = 12, 4
PLAN = {
    "arch": "resnet18", "pretrained": False, "n_train": 24, "n_valid": 6, "steps": STEPS, "device": "cpu",
    "precision": "fp32",
}  # fmt: skip
CONFIG = {"seed": 42, "train": {"lr": 0.1, "stages": None, "metrics": ["error_rate"]}}
RESULT = {
    "best": {"error_rate": 0.25, "valid_loss": 0.5, "phase": "frozen"}, "seconds": 9.5,
    "metrics": {"accuracy": {"value": 0.75, "low": 0.5, "high": 0.9, "n": 6}, "macro_f1": {"value": 0.7}},
}  # fmt: skip


class Fake:
    """A tracker that keeps its rows where a killed process leaves them."""

    rows, finished, opened = [], [], []

    def __init__(self, opening):
        self.id = opening.id or "fresh"
        self.opened.append(opening)

    def log(self, rows):
        self.rows.extend(rows)

    def finish(self, status, figures, step):
        self.finished.append((status, figures, step))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setitem(TRACKERS, "tensorboard", (Fake, ("json",)))
    for kept in (Fake.rows, Fake.finished, Fake.opened):
        kept.clear()
    return Fake


def play(hub, first=1, last=STEPS, end=True):
    """The events of a run from one step to another."""
    hub.tell("start", config=CONFIG)
    hub.tell("plan", **PLAN)
    for step in range(first, last + 1):
        hub.tell("step", step=step, phase="frozen", train_loss=1 / step, lrs=[0.1, 0.01])
        if step % PER_EPOCH == 0:
            hub.tell("epoch", step=step, phase="frozen", epoch=step // PER_EPOCH, epochs=3, train_loss=1 / step,
                     valid_loss=2 / step, error_rate=0.5, lr=0.1, seconds=1.0, best=True)  # fmt: skip
    if end:
        hub.tell("end", status="finished", result=RESULT)


def hub(tmp_path, cfg):
    return Events(Terminal(quiet=True), tracking.listeners(cfg, Run(tmp_path / "run")))


def test_hyperparameters_steps_epochs_and_final_figures_are_logged(tmp_path, make_config, fake):
    play(hub(tmp_path, make_config(**{"train.trackers": ["tensorboard"]})))
    assert fake.opened[0].folder == tmp_path / "run" / "trackers" / "tensorboard"
    assert fake.opened[0].params == {
        "seed": 42, "train.lr": 0.1, "train.stages": "null", "train.metrics": '["error_rate"]',
        **{f"plan.{key}": value for key, value in PLAN.items()},
    }  # fmt: skip
    assert [step for step, _ in fake.rows] == list(range(1, STEPS + 1))
    assert fake.rows[0][1] == {"step/train_loss": 1.0, "step/lr_group0": 0.1, "step/lr_group1": 0.01}
    assert {k: v for k, v in fake.rows[3][1].items() if k.startswith("epoch/")} == {
        "epoch/train_loss": 0.25, "epoch/valid_loss": 0.5, "epoch/error_rate": 0.5, "epoch/seconds": 1.0,
    }  # fmt: skip
    [(status, figures, step)] = fake.finished
    assert (status, step) == ("finished", STEPS)
    assert figures == {
        "final/error_rate": 0.25, "final/valid_loss": 0.5, "final/accuracy": 0.75, "final/accuracy_low": 0.5,
        "final/accuracy_high": 0.9, "final/accuracy_n": 6.0, "final/macro_f1": 0.7, "final/seconds": 9.5,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(kills=st.lists(st.tuples(st.integers(0, STEPS), st.integers(0, 5)), max_size=4), often=st.booleans())
def test_each_step_and_epoch_is_logged_once_however_often_the_run_is_killed(tmp_path_factory, kills, often):
    """A killed run goes on some steps before the place where it was killed: at its last checkpoint."""
    from imgclf.config import Override, load

    folder = tmp_path_factory.mktemp("killed")
    (folder / "c.yaml").write_text("version: 1\n")
    cfg = load(str(folder / "c.yaml"), [Override("data.path", "digits", "t"),
                                        Override("train.trackers", ["tensorboard"], "t")]).config  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRACKERS, "tensorboard", (Fake, ("json",)))
        patch.setattr(tracking, "HAND_OVER_SECONDS", 0.0 if often else 1e9)
        for kept in (Fake.rows, Fake.finished, Fake.opened):
            kept.clear()
        first = 1
        for last, back in kills:
            play(hub(folder, cfg), first, max(first, last), end=False)
            first = max(1, max(first, last) + 1 - back)
        play(hub(folder, cfg), first)
    steps = [step for step, values in Fake.rows if "step/train_loss" in values]
    epochs = [step for step, values in Fake.rows if "epoch/valid_loss" in values]
    assert steps == sorted(set(steps))
    assert epochs == [4, 8, 12]
    assert {opening.id for opening in Fake.opened[1:]} <= {"fresh"}, "the same run of the tracker goes on"


def test_a_tracker_that_breaks_is_left_behind(tmp_path, make_config, fake, monkeypatch, caplog):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Fake, "log", full)
    with caplog.at_level(logging.WARNING, logger="imgclf"):
        play(hub(tmp_path, make_config(**{"train.trackers": ["tensorboard"]})))
    assert [r.message for r in caplog.records] == [
        "train.trackers: tensorboard: [Errno 28] No space left on device; the run goes on without it"
    ]
    assert fake.finished == []


def test_a_tracker_that_is_not_installed_names_its_extra(make_config, monkeypatch):
    monkeypatch.setitem(TRACKERS, "wandb", (Fake, ("no_such_package",)))
    with pytest.raises(PackageError, match="wandb needs the package no_such_package, which is not installed") as raised:
        tracking.wanted(make_config(**{"train.trackers": ["wandb"]}))
    assert raised.value.hint == 'pip install "imgclf[wandb]"'
    assert tracking.wanted(make_config()) == ()


def test_an_unknown_tracker_is_a_mistake_of_the_configuration(make_config):
    with pytest.raises(ConfigError, match=r"train\.trackers"):
        make_config(**{"train.trackers": ["tensorbord"]})


def killed_and_resumed(tmp_path, cfg):
    """Two processes of a run: six steps, then from the fifth on to the end."""
    play(hub(tmp_path, cfg), last=6, end=False)
    play(hub(tmp_path, cfg), first=5)
    return tmp_path / "run" / "trackers"


def test_tensorboard(tmp_path, make_config):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = killed_and_resumed(tmp_path, make_config(**{"train.trackers": ["tensorboard"]}))
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    assert [e.step for e in found.Scalars("step/train_loss")] == list(range(1, STEPS + 1))
    assert [e.step for e in found.Scalars("epoch/error_rate")] == [4, 8, 12]
    assert found.Scalars("final/accuracy")[-1].value == 0.75
    assert "_hparams_/session_start_info" in found.summary_metadata


def test_mlflow(tmp_path, make_config, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = killed_and_resumed(tmp_path, make_config(**{"train.trackers": ["mlflow"]}))
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    run = client.get_run(json.loads((folder / "mlflow.json").read_text())["id"])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["train.lr"] == "0.1"
    assert run.data.metrics["final/accuracy"] == 0.75
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "step/train_loss")]
    assert sorted(steps) == list(range(1, STEPS + 1))
    assert [p.name for p in tmp_path.iterdir() if p.name != "empty-config.yaml"] == ["run"]


def test_wandb_stays_off_line_and_in_the_run_folder(tmp_path, make_config, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = killed_and_resumed(tmp_path, make_config(**{"train.trackers": ["wandb"]}))
    noted = json.loads((folder / "wandb.json").read_text())
    assert (noted["step"], noted["epoch"]) == (STEPS, STEPS)
    parts = list((folder / "wandb").glob(f"offline-run-*-{noted['id']}/run-{noted['id']}.wandb"))
    assert parts, "one tracker run, in a part for each process"
    assert [p.name for p in tmp_path.iterdir() if p.name != "empty-config.yaml"] == ["run"]
