"""Several labels an image, from a table to a verified export, through the command line."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import shapes
from support import run_here, unpack

FAST = ["-a", "resnet18", "--size", "32", "--presize", "40", "-b", "8", "--lr", "3e-3", "--set", "data.workers=0"]
RANDOM = ["--set", "model.pretrained=false", "--set", "model.cut=-4"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi")
    shapes.write_multi(folder / "colours")
    return folder


@pytest.fixture(scope="module")
def trained(work):
    done = run_here("train", "-d", "colours", "-e", "8", *FAST, *RANDOM, "--name", "colours", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    return done


def test_it_learns_the_colours(trained):
    found = json.loads(trained.stdout)
    assert found["classes"] == list(shapes.COLOURS)
    assert {"accuracy", "accuracy_multi", "mAP", "macro_f1"} <= found["metrics"].keys()
    assert found["metrics"]["mAP"]["value"] > 0.65  # by chance: about 0.5; 0.87 seen
    assert "several a cell" in trained.stderr


def test_the_run_keeps_task_thresholds_and_pictures(trained, work):
    run = work / "runs" / "colours"
    record = json.loads((run / "model.json").read_text())
    assert record["task"] == "multi"
    assert len(record["thresholds"]) == 3
    assert all(0 <= t <= 1 for t in record["thresholds"])
    assert (run / "plots" / "labels.png").is_file()
    page = (run / "report.html").read_text()
    assert "thresholds were chosen on the same images" in page


def test_evaluate_gives_the_figures_of_training(trained, work):
    done = run_here("evaluate", "colours", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    again, first = json.loads(done.stdout), json.loads((work / "runs/colours/eval/report.json").read_text())
    assert again["mAP"] == pytest.approx(first["mAP"], abs=1e-6)
    assert again["accuracy"] == first["accuracy"]
    assert [row["class"] for row in again["per_class"]] == list(shapes.COLOURS)
    assert {"n", "precision", "recall", "f1", "ap", "threshold"} <= again["per_class"][0].keys()


def test_evaluate_on_other_images_takes_no_single_labels(trained, work):
    shapes.write(work / "shapes", per_class=2)
    done = run_here("evaluate", "colours", "-d", "shapes", cwd=work)
    assert done.returncode == 3
    assert "one label each" in done.stderr


def test_predict_gives_the_labels_over_their_thresholds(trained, work):
    record = json.loads((work / "runs/colours/model.json").read_text())
    thresholds = dict(zip(record["classes"], record["thresholds"], strict=True))
    done = run_here("predict", "colours", "colours/images", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["predictions"]
    assert len(rows) == 64
    for row in rows:
        assert set(row["labels"]) == {name for name, p in row["probs"].items() if p >= thresholds[name]}
    assert len({tuple(sorted(row["labels"])) for row in rows}) > 3


def test_predict_as_a_table_for_programs(trained, work):
    done = run_here("predict", "colours", "colours/images", "--format", "csv", cwd=work)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 64
    assert {"path", "blue", "green", "red"} <= rows[0].keys()


@pytest.mark.parametrize("form", ["onnx", "safetensors", "pkl"])
def test_exports_give_the_same_answers(trained, work, form):
    done = run_here("export", "colours", "--format", form, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["parity"]["passed"]


def test_the_onnx_file_says_how_to_read_it(trained, work):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run_here("export", "colours", "--format", "onnx", "--json", cwd=work).returncode == 0
    session = onnxruntime.InferenceSession(str(work / "runs/colours/export/model.onnx"))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["task"]) == "multi"
    assert len(json.loads(facts["thresholds"])) == 3
    (probs,) = session.run(None, {"image": np.zeros((2, 32, 32, 3), np.uint8)})
    assert probs.shape == (2, 3)
    assert ((probs > 0) & (probs < 1)).all()


@pytest.mark.parametrize(
    ("setting", "said"),
    [("train.loss=cross_entropy", "bce"), ("train.metrics=[error_rate]", "accuracy_multi")],
)
def test_a_loss_or_metric_for_one_label_is_refused(work, setting, said):
    done = run_here("train", "-d", "colours", *FAST, *RANDOM, "--set", setting, cwd=work)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_dry_run_goes_all_the_way(work):
    done = run_here("train", "-d", "colours", *FAST, *RANDOM, "--dry-run", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["exports"].values()) == {True}


@pytest.mark.real
def test_labels_that_only_validate_and_images_without_any(shared, tmp_path, quick):
    """COCO's first pictures: 76 labels, five of them in validation alone, two empty cells."""
    folder = unpack(shared / "data" / "multilabel-coco.tar", tmp_path)
    more = ["-b", "16", "-e", "1", "--json"]
    done = run_here("train", "-d", folder, *FAST, *RANDOM, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n_train"], found["n_valid"]) == (128, 127)  # a picture with nothing but a sheep is left out
    assert not {"apple", "fire_hydrant", "keyboard", "sheep", "surfboard"} & set(found["classes"])


def test_explain_shows_each_decision(trained, work, tmp_path):
    done = run_here("explain", "colours", "--top-losses", 2, "--out", tmp_path, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    worst = json.loads((work / "runs/colours/eval/report.json").read_text())["top_losses"]
    for one, row in zip(json.loads(done.stdout)["explanations"], worst, strict=False):
        assert one["loss"] == pytest.approx(row["loss"], abs=1e-5)
        assert (set(one["labels"]), set(one["preds"])) == (set(row["labels"]), set(row["preds"]))
        assert {r["class"] for r in one["classes"] if r["there"]} == set(one["labels"])
    image = next((work / "colours" / "images").iterdir())
    named = run_here("explain", "colours", image, "--out", tmp_path, cwd=work)
    assert "label unknown" in named.stdout
    labels = [part for name in list(shapes.COLOURS)[:2] for part in ("--label", name)]
    named = run_here("explain", "colours", image, *labels, "--out", tmp_path, cwd=work)
    assert f"label {', '.join(list(shapes.COLOURS)[:2])} (from --label)" in named.stdout
    assert "the mean over 3 decisions" in named.stdout


def test_runs_are_compared_by_the_images_whose_labels_are_all_right(trained, work):
    """A copy that has every label right, but of one image: each image is one trial of the paired test."""
    shutil.copytree(work / "runs" / "colours", work / "runs" / "better")
    path = work / "runs" / "better" / "eval" / "predictions.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    wrong = sum(row["pred"] != row["target"] for row in rows)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([{**row, "pred": row["target"]} for row in rows])
    done = run_here("compare", "colours", "better", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["task"], found["n"]) == ("multi", len(rows))
    assert [run["error_rate"]["value"] for run in found["runs"]] == [wrong / len(rows), 0]
    [pair] = found["pairs"]
    assert (pair["only_a"], pair["only_b"], len(pair["flips"])) == (0, wrong, wrong)
    assert "a label wrong" in run_here("compare", "colours", "better", cwd=work).stdout
