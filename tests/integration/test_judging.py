"""`evaluate` and `predict` on one run: gates, questions, and images that cannot be judged on."""

import json
import shutil
from pathlib import Path

import judged
import numpy as np
import pytest
from PIL import Image
from support import run_here

from imgclf import runs
from imgclf.results.sections import baselines
from imgclf.results.sections.content import Content
from imgclf.shipping import bundle


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A working folder with ``photos/`` and the run ``mine``; not to be changed."""
    folder = tmp_path_factory.mktemp("judging")
    judged.run_of(judged.photos(folder / "photos", 16), folder / "runs")
    return folder


def evaluate(here, *arguments: object):
    return run_here("evaluate", "mine", *arguments, cwd=here)


def test_nothing_is_exported_among_the_images(here):
    for data in ([], ["--data", "photos"]):
        done = run_here("export", "mine", "-f", "safetensors", "--out", "photos/out", *data, cwd=here)
        assert (done.returncode, "inside the data folder" in done.stderr) == (2, True), done.stderr
    done = run_here("data", "show", "-d", "photos", "--out", "photos/new/batch.png", cwd=here)
    assert (done.returncode, "inside the data folder" in done.stderr) == (2, True), done.stderr
    assert not (here / "photos" / "out").exists() and not (here / "photos" / "new").exists()


def test_a_file_that_belongs_to_no_run_is_exported_beside_itself(here, tmp_path):
    assert run_here("export", "mine", "-f", "safetensors", "--out", tmp_path / "a", cwd=here).returncode == 0
    copied = shutil.copy(tmp_path / "a" / "model.safetensors", tmp_path)
    done = run_here("export", copied, "-f", "safetensors", "--data", "photos", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.json["files"][0]["path"] == str(tmp_path / "export" / "model.safetensors")


def test_a_table_beside_the_runs_is_no_reason_to_refuse(tmp_path):
    """The folder of such a table is the working folder, where runs and pictures belong."""
    root = judged.photos(tmp_path / "photos", 8, ("train", "valid"))
    rows = [f"photos/{p.relative_to(root).as_posix()},{p.parent.name},{p.parts[-3]}" for p in root.rglob("*.png")]
    (tmp_path / "table.csv").write_text("\n".join(["image,label,split", *rows]) + "\n")
    judged.run_of(tmp_path / "table.csv", tmp_path / "runs")
    for command in (["explain", "mine", "--top-losses", "1"], ["export", "mine", "-f", "safetensors"]):
        done = run_here(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_gate(here):
    found = evaluate(here, "--json").json["accuracy"]
    met = evaluate(here, "--json", "--fail-under", found["value"])
    assert (met.returncode, met.json["gate"]["passed"]) == (0, True)
    missed = evaluate(here, "--json", "--quiet", "--fail-under", found["value"], "--on", "low")
    assert missed.returncode == 6
    assert missed.json["accuracy"] == found  # stdout is still the one whole document
    gate = {"at_least": found["value"], "on": "low", "reached": found["low"], "passed": False}
    assert missed.json["gate"] == gate
    assert f"accuracy {found['value']:.4f} ({found['low']:.4f}–{found['high']:.4f}, n=48)" in missed.stderr
    assert f"at least {found['value']:g}" in missed.stderr


def test_a_gate_for_people(here):
    done = evaluate(here, "--fail-under", 1, "--on", "low")
    assert done.returncode == 6
    assert done.stdout.startswith("accuracy ")
    assert "error: the quality gate is not met" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--fail-under", "92"], 2, "92 % is --fail-under 0.92"),
        (["--on", "low"], 2, "--fail-under is not given"),
        (["--fail-under", "0.5", "--on", "lwo"], 2, "Did you mean 'low'"),
        (["--top-k", "3"], 2, "with 3 classes it says something from 1 to 2"),
        (["--split", "tset"], 2, "Did you mean 'test'"),
        (["--data", "photos", "--split", "test"], 2, "leave one out"),
        (["--data", "nowhere"], 3, "nowhere"),
    ],
)
def test_what_cannot_be_asked(here, arguments, code, said):
    done = evaluate(here, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_top_k(here):
    found = evaluate(here, "--json", "--top-k", 2).json
    assert found["top_k_accuracy"]["k"] == 2
    assert found["top_k_accuracy"]["value"] >= found["accuracy"]["value"]


@pytest.fixture
def odd(here, tmp_path) -> Path:
    """Images of the same classes, to be spoilt."""
    folder = tmp_path / "odd"
    shutil.copytree(here / "photos" / "test", folder)
    return folder


def test_labels_the_model_does_not_know(here, odd):
    (odd / "red").rename(odd / "rot")
    done = evaluate(here, "--data", odd, "--json")
    assert done.returncode == 3
    assert "labels the model does not know: rot; it knows blue, green, red" in done.json["error"]["message"]


def test_a_class_that_is_missing_is_said_and_the_rest_judged(here, odd):
    shutil.rmtree(odd / "red")
    done = evaluate(here, "--data", odd, "--json")
    assert (done.returncode, done.json["n"]) == (0, 32)
    assert any("no image here and are not judged: red" in line for line in done.json["warnings"])


def test_an_empty_folder(here, tmp_path):
    (tmp_path / "empty").mkdir()
    done = evaluate(here, "--data", tmp_path / "empty", "--json")
    assert done.returncode == 3
    assert "empty" in done.json["error"]["message"]


def test_unreadable_images_are_left_out_and_named(here, odd):
    (odd / "red" / "red 3.png").write_bytes(b"no image")
    done = evaluate(here, "--data", odd, "--json")
    assert (done.returncode, done.json["n"]) == (0, 47)
    assert "red 3.png" in done.stderr


def test_nothing_but_unreadable_images(here, odd):
    for path in odd.rglob("*.png"):
        path.write_bytes(b"no image")
    done = evaluate(here, "--data", odd, "--json")
    assert done.returncode == 3
    assert "none of the 48 images" in done.json["error"]["message"]


@pytest.mark.parametrize(
    ("columns", "said"), [("image,kind", "no column 'label'"), ("picture,label", "no column 'image'")]
)
def test_a_table_without_a_column_that_is_needed(here, odd, columns, said):
    (odd / "table.csv").write_text(f"{columns}\nred/red 1.png,red\n")
    done = evaluate(here, "--data", odd / "table.csv", "--json")
    error = done.json["error"]
    assert (done.returncode, error["exit_code"]) == (3, 3)
    assert said in error["message"]
    assert f"its columns: {', '.join(columns.split(','))}; it is data." in error["hint"]
    assert "set data." not in error["hint"]


def test_a_table_with_the_usual_columns(here, odd):
    (odd / "table.csv").write_text("image,label\nred/red 1.png,red\nblue/blue 1.png,blue\n")
    assert evaluate(here, "--data", odd / "table.csv", "--json").json["n"] == 2


def test_a_run_of_an_older_version_that_knows_less(here, tmp_path):
    """No check for unlike images, no baselines: the rest is as ever."""
    old = tmp_path / "old"
    shutil.copytree(here / "runs" / "mine", old)
    bundle.update(old, metrics={})
    (old / runs.EVAL_REPORT).unlink()
    found = run_here("evaluate", old, "--json", cwd=here).json
    assert found["accuracy"] == evaluate(here, "--json").json["accuracy"]
    assert not {"unlike", "baselines", "learning_curve"} & found.keys()
    [row] = run_here("predict", old, "photos/test/red/red 1.png", "--json", cwd=here).json["predictions"]
    assert not {"unlike", "distance"} & row.keys()


@pytest.mark.parametrize("harm", [{"baselines": {"majority": 1}}, {"learning_curve": {"figure": "x"}}, None])
def test_figures_that_are_damaged_do_not_keep_a_model_from_being_judged(here, tmp_path, harm):
    shutil.copytree(here / "runs", tmp_path / "runs")
    report = tmp_path / "runs" / "mine" / "eval" / "report.json"
    report.write_text("[" if harm is None else json.dumps({**json.loads(report.read_text()), **harm}))
    done = run_here("evaluate", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy ") and "baseline: always" not in done.stdout


def test_weights_are_those_of_training_where_every_image_has_one_of_several_labels(tmp_path):
    from imgclf.config import Override, dump, load
    from imgclf.results.evaluate import Predictions
    from imgclf.results.evaluate import evaluate as figures
    from imgclf.workflow.evaluate import _with_training

    cfg = load(None, [Override("data.balance", "loss", "test")]).config
    (tmp_path / runs.CONFIG).write_text(dump(cfg))
    lines = [f"{i}.jpg,{'b' if i < 2 else 'a'},train" for i in range(10)]
    (tmp_path / runs.SPLIT).write_text("\n".join(["path,label,split", *lines]) + "\n")
    targets = np.array([[1, 0], [0, 1]])
    found = figures(Predictions(("x", "y"), targets * 2.0 - 1, targets, ("a", "b"), 1.0, "multi"))
    assert [row["weight"] for row in _with_training(found, tmp_path).per_class] == [1.0, 4.0]


def test_a_run_of_a_newer_version(here, tmp_path):
    shutil.copytree(here / "runs" / "mine", tmp_path / "newer")
    record = tmp_path / "newer" / runs.RECORD
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema": 99}))
    done = run_here("evaluate", tmp_path / "newer", "--json", cwd=here)
    assert done.returncode == 4
    assert "pip install --upgrade imgclf" in done.json["error"]["hint"]


def test_what_was_chosen_on_the_images_is_said(here):
    said = {
        part: [
            w for w in evaluate(here, "--split", part, "--json").json["warnings"] if "same images" in w or "very" in w
        ]
        for part in ("train", "valid", "test")
    }
    assert "best epoch and the temperature were chosen on the same images" in said["valid"][0]
    assert "trained on the very images" in said["train"][0]
    assert said["test"] == []
    assert not any("same images" in w for w in evaluate(here, "--data", "photos", "--json").json["warnings"])


def test_from_random_weights_there_is_no_frozen_body(here):
    run = here / "runs" / "mine"
    report = json.loads((run / runs.EVAL_REPORT).read_text())
    assert report["baselines"]["probe"] is None
    assert report["baselines"]["why"] == "random weights: there is no pretrained body to compare with"
    assert report["learning_curve"]["figure"] is None
    assert "No frozen-feature probe: random weights" in baselines.section(Content("", evaluation=report))
    assert baselines.more_images(Content("", evaluation=report)) == ""
    assert not (run / "plots" / "learning_curve.png").exists()


def test_cross_fitting(here):
    found = evaluate(here, "--cross-fit", "--json").json
    crossed = found["cross_fit"]
    assert crossed["halves"] == [24, 24]
    assert crossed["reported"]["calibration_error"] == pytest.approx(found["ece_after"])
    assert crossed["reported"]["accuracy"] == crossed["cross_fitted"]["accuracy"] == found["accuracy"]
    assert crossed["reported"]["calibrated_loss"] != crossed["cross_fitted"]["calibrated_loss"]
    assert "best epoch was still chosen" in crossed["note"]
    assert "Cross-fitted: fitted on one half" in evaluate(here, "--cross-fit").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "test"], "the test split is only ever judged on"),
        (["--split", "train"], "the train split was trained on"),
        (["--data", "photos"], "the images of --data are only ever judged on"),
    ],
)
def test_what_is_only_judged_on_is_not_fitted_on(here, arguments, said):
    done = evaluate(here, "--cross-fit", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.fixture(scope="module")
def rate(here) -> float:
    """The lowest rate of wrong answers the model has a threshold for."""
    known = json.loads((here / "runs" / "mine" / runs.RECORD).read_text())["metrics"]["abstention"]
    assert len(known) > 1
    return known[0]["rate"]


def test_abstaining_is_chosen_on_validation_and_used_elsewhere(here, rate):
    on_valid = evaluate(here, "--abstain", rate, "--json").json["abstention"]
    assert (on_valid["reached"], on_valid["chosen_on"]) == (True, "these images")
    assert on_valid["error"]["high"] <= rate
    on_test = evaluate(here, "--abstain", rate, "--split", "test", "--json").json["abstention"]
    assert (on_test["chosen_on"], on_test["threshold"]) == ("the validation images", on_valid["threshold"])
    rows = run_here("predict", "mine", "photos/test", "--abstain", rate, "--json", cwd=here).json["predictions"]
    assert len(rows) == on_test["coverage"]["n"] == 48
    assert sum(not row["abstained"] for row in rows) == round(on_test["coverage"]["value"] * 48) - on_test["unlike"]


def test_withheld_answers(here, rate):
    plain = run_here("predict", "mine", "photos/test", "--json", cwd=here).json["predictions"]
    done = run_here("predict", "mine", "photos/test", "--abstain", rate, "--json", cwd=here)
    rows = done.json["predictions"]
    withheld = [row for row in rows if row["abstained"]]
    assert 0 < len(withheld) < 48
    assert {row["label"] for row in withheld} == {"unknown"}
    assert [(row["prob"], row["probs"]) for row in rows] == [(row["prob"], row["probs"]) for row in plain]
    unsure = [row["prob"] for row in withheld if not row["unlike"]]
    assert max(unsure) < min(row["prob"] for row in rows if not row["abstained"])
    assert "are 'unknown'" in done.stderr
    csv = run_here("predict", "mine", "photos/test", "--abstain", rate, "--format", "csv", cwd=here).stdout
    assert csv.count(",unknown,") == len(withheld)
    table = run_here("predict", "mine", "photos/test", "--abstain", rate, cwd=here).stdout
    assert sum(" unknown " in line for line in table.splitlines()) == len(withheld)


@pytest.fixture(scope="module")
def strict(here) -> Path:
    """The run with a narrower border, so that about half of the test images are unlike."""
    target = here / "runs" / "strict"
    shutil.copytree(here / "runs" / "mine", target)
    rows = run_here("predict", "mine", "photos/test", "--json", cwd=here).json["predictions"]
    metrics = json.loads((target / runs.RECORD).read_text())["metrics"]
    metrics["unlike"]["threshold"] *= sorted(row["distance"] for row in rows)[24] ** 2 * 0.999
    bundle.update(target, metrics=metrics)
    return target


def test_images_unlike_the_training_data_are_flagged(here, strict, rate):
    def ask(*more, model="strict"):
        return run_here("predict", model, "photos/test", *more, cwd=here)

    rows = ask("--json").json["predictions"]
    assert {row["unlike"] for row in rows} == {True, False}
    assert all(row["unlike"] is (row["distance"] > 1) for row in rows)
    flagged = {row["path"] for row in rows if row["unlike"]}
    usual = {
        row["path"] for row in ask("--abstain", rate, "--json", model="mine").json["predictions"] if row["abstained"]
    }
    withheld = ask("--abstain", rate, "--json").json["predictions"]
    assert {row["path"] for row in withheld if row["label"] == "unknown"} == flagged | usual
    table = ask().stdout
    assert table.count("unlike the training images (") == len(flagged)
    lines = ask("--format", "csv").stdout.splitlines()
    assert lines[0] == "path,label,prob,unlike,distance,error,blue,green,red"
    assert sum(",True," in line for line in lines) == len(flagged)


def test_evaluate_tells_how_many_images_are_unlike(here, strict, rate):
    done = run_here("evaluate", "strict", "--split", "test", "--abstain", rate, "--json", cwd=here)
    found = done.json["unlike"]
    rows = run_here("predict", "strict", "photos/test", "--abstain", rate, "--json", cwd=here).json["predictions"]
    assert (found["flagged"], found["n"], found["fitted_here"]) == (sum(row["unlike"] for row in rows), 48, False)
    assert "of 48 images are unlike those the model was trained for" in done.json["warnings"][0]
    given = done.json["abstention"]
    assert sum(not row["abstained"] for row in rows) == round(given["coverage"]["value"] * 48) - given["unlike"]
    assert given["unlike"] > 0
    said = run_here("evaluate", "strict", "--split", "test", "--abstain", rate, cwd=here).stdout
    assert f"unlike the training images: {found['flagged']} of 48" in said
    assert f"{given['unlike']} of these answers withheld" in said
    own = evaluate(here, "--json").json["unlike"]
    assert (own["fitted_here"], own["n"]) == (True, 48)


def test_the_test_split_is_never_fitted_on(here, tmp_path):
    """The same run beside other test images, and after they were judged: not a bit of the model differs."""
    shutil.copytree(here / "photos", tmp_path / "photos")
    for path in (tmp_path / "photos" / "test").rglob("*.png"):
        Image.fromarray(np.zeros((judged.SIDE, judged.SIDE, 3), np.uint8)).save(path)
    other = judged.run_of(tmp_path / "photos", tmp_path / "runs")
    mine = here / "runs" / "mine"
    facts = [json.loads((run / runs.RECORD).read_text()) for run in (mine, other)]
    for key in ("temperature", "thresholds", "metrics"):
        assert facts[0][key] == facts[1][key]
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file() and path.parent.name != "export"}
    assert evaluate(here, "--split", "test", "--abstain", 0.3, "--json").returncode == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_rate_out_of_reach(here):
    done = evaluate(here, "--abstain", "0.001", "--json")
    assert (done.returncode, done.json["abstention"]["reached"]) == (6, False)
    assert "no threshold keeps wrong answers at 0.001" in done.stderr
    done = run_here("predict", "mine", "photos", "--abstain", "0.001", "--json", cwd=here)
    assert done.returncode == 4
    assert "the model has no threshold for 0.001" in done.json["error"]["message"]


@pytest.mark.parametrize("command", [("evaluate", "mine"), ("predict", "mine", "photos")])
def test_a_rate_that_is_no_share(here, command):
    done = run_here(*command, "--abstain", "5", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert "above 0 and below 1" in done.stderr
