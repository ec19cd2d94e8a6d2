"""Run folders whose JSON is not what it should be: refused where it is read, with the value's name."""

import json

import pytest

from imgclf import runs, shapes
from imgclf.errors import ModelError
from imgclf.results import cycle, shape
from imgclf.workflow import listing

INTERVAL = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 4}
CURVE = {"shape": "one_cycle", "pct_start": 0.3, "div": 5.0}
PHASE = {"name": "frozen", "epochs": 1, "freeze_to": -1, "lrs": [0.1], "curve": CURVE, "steps": 3}
JUDGED = {
    "n": 4, "accuracy": INTERVAL, "error_rate": 0.5, "ece_after": 0.1, "top_losses": [],
    "per_class": [{"class": "a", "n": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}],
}  # fmt: skip


def written(folder, manifest: object) -> runs.Run:
    folder.mkdir(parents=True, exist_ok=True)
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / runs.MANIFEST).write_text(text, encoding="utf-8")
    return runs.Run(folder)


def test_what_is_right_is_given_back_as_it_is(tmp_path):
    whole = {"status": "finished", "of_a_later_version": [1], "result": {"seconds": float("nan"), "n_train": 3}}
    found = written(tmp_path / "run", whole).manifest()
    assert found.keys() == whole.keys() and found["of_a_later_version"] == [1]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({}, "status"), ([], "no JSON object"), ("{", "Expecting"), ("[" * 100_000, "recursion"),
        ({"status": 5}, "status"), ({"status": "finished", "started": "yesterday"}, "started"),
        ({"status": "finished", "started": "0001-01-01T00:00:00"}, "started"),
        ({"status": "finished", "result": []}, "result"), ({"status": "finished", "data_root": None}, "data_root"),
        ({"status": "finished", "result": {"best": {"phase": "x"}}}, "result.best"),
        ({"status": "finished", "checks": {"bad": "many"}}, "checks.bad"),
        ({"status": "finished", "plan": {"reason": "", "phases": [{**PHASE, "curve": {**CURVE, "div": 0}}]}}, "div"),
        ({"status": "finished", "versions": {"torch": 2.6}}, "versions.torch"),
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_told_and_hides_no_other_run(tmp_path, manifest, said):
    run = written(tmp_path / "damaged", manifest)
    written(tmp_path / "good", {"status": "finished", "started": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(ModelError, match=said) as caught:
        run.manifest()
    assert str(run.path) in caught.value.message
    for order in listing.ORDERS:
        assert {row["name"]: row["status"] for row in listing.listed(tmp_path, order)} == {
            "damaged": "damaged", "good": "finished",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy": 0.5}, "accuracy"), ({"per_class": [{"class": "a"}]}, "per_class.0"),
        ({"per_class": [{**JUDGED["per_class"][0], "recall": 7}]}, "recall"), ({"n": -1}, "n:"),
        ({"mAP": 0.5}, "micro_f1|accuracy_multi"), ({"learning_curve": {"figure": "accuracy"}}, "learning_curve"),
        ({"unlike": {"n": 1}}, "unlike"), ({"warnings": "none"}, "warnings"),
    ],
)  # fmt: skip
def test_damaged_figures_are_told(tmp_path, changes, said):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(JUDGED))
    assert shape.read(file) == JUDGED
    file.write_text(json.dumps(JUDGED | changes))
    with pytest.raises(ModelError, match=said):
        shape.read(file)


def test_a_plan_with_more_steps_than_any_training_is_not_drawn(tmp_path):
    plan = {"reason": "", "phases": [{**PHASE, "steps": 10**15}]}
    written(tmp_path / "run", {"status": "finished", "plan": plan}).manifest()
    assert cycle.schedule_plot(plan, tmp_path / "schedule.png") is None


@pytest.mark.parametrize("history", [b"\xff\xfe", b"a,valid_loss\n1,2,3,4\n5\n", b"\0", b"a" * 200_000])
def test_a_damaged_history_does_not_hide_a_run(tmp_path, history):
    run = written(tmp_path / "run", {"status": "finished"})
    run.file(runs.HISTORY).write_bytes(history)
    [row] = listing.listed(tmp_path)
    assert row["status"] == "finished"
    assert [loss for loss in row["valid_loss"] if loss is not None] in ([], [2.0])


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        shapes.read(tmp_path / "none.json", shapes.Manifest)
