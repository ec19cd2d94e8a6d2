"""One model, one set of files: every way to ask gives the same figures."""

import csv
import json
import math
import re
from functools import cache
from pathlib import Path

import judged
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import CLOSE, differences, run_here

from imgclf import runs
from imgclf.shipping import exporters, inference
from imgclf.workflow.evaluate import evaluate, report_data
from imgclf.workflow.export import SUFFIXES


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A working folder with photographs and a run on them."""
    folder = tmp_path_factory.mktemp("agreement")
    run = judged.run_of(judged.photos(folder / "photos", 10, ("train", "valid")), folder / "runs")
    assert 0.5 < json.loads((run / runs.EVAL_REPORT).read_text())["accuracy"]["value"] < 1  # some right, some wrong
    return folder


@pytest.fixture(scope="module")
def run(work) -> Path:
    return work / "runs" / "mine"


@pytest.fixture(scope="module")
def report(run) -> dict:
    return json.loads((run / runs.EVAL_REPORT).read_text())


@pytest.fixture(scope="module")
def answers(run) -> dict[str, dict]:
    with (run / runs.PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def predictor(run):
    return inference.load(run)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """``exported("onnx")``: the run's model in that format, loaded as its user would."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def load(form: str):
        file = exporters.export(run, form, folder / f"model{SUFFIXES[form]}")
        return inference.load(file, trust=True)

    return load


batch_sizes = st.sampled_from([1, 2, 7, 16, 29, 30, 64])


@given(batch_sizes, st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_predict_gives_every_image_the_answer_it_was_judged_by(work, answers, predictor, batch_size, random):
    paths = random.sample(sorted(answers), k=random.randint(1, len(answers)))
    rows = list(predictor.predict([work / "photos" / p for p in paths], batch_size))
    assert [str(row.path) for row in rows] == [str(work / "photos" / p) for p in paths]
    assert [row.label for row in rows] == [answers[p]["pred"] for p in paths]
    assert [row.prob for row in rows] == pytest.approx([float(answers[p]["prob"]) for p in paths], abs=CLOSE)


@pytest.mark.parametrize(
    "form", ["safetensors", "onnx", "torchscript", pytest.param("torch-export", marks=pytest.mark.slow)]
)
@given(batch_size=batch_sizes, random=st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_every_export_gives_the_same_in_any_order_and_batch(work, answers, exported, form, batch_size, random):
    paths = random.choices(sorted(answers), k=random.randint(1, len(answers)))  # in any order, some of them twice
    rows = list(exported(form).predict([work / "photos" / p for p in paths], batch_size))
    assert [str(row.path) for row in rows] == [str(work / "photos" / p) for p in paths]
    assert [row.label for row in rows] == [answers[p]["pred"] for p in paths]
    assert [row.prob for row in rows] == pytest.approx([float(answers[p]["prob"]) for p in paths], abs=CLOSE)


@given(batch_sizes)
@settings(max_examples=5, deadline=None)
def test_evaluate_gives_the_reports_figures_at_any_batch_size(run, report, batch_size):
    assert differences(report_data(evaluate(run, batch_size=batch_size)), report) == []


def test_the_command_prints_the_reports_figures(work, report):
    assert differences(run_here("evaluate", "mine", "--json", cwd=work).json, report) == []
    said = run_here("evaluate", "mine", cwd=work).stdout
    a = report["accuracy"]
    assert f"accuracy {a['value']:.3f} ({a['low']:.3f}–{a['high']:.3f}, n={a['n']})" in said


def test_what_half_the_digits_cost_is_told_and_asked_for_by_name(work, report):
    half = run_here("evaluate", "mine", "--precision", "bf16", "--json", cwd=work).json
    assert half["warnings"][0].startswith("computed in bf16 (--precision)")
    assert half["accuracy"]["value"] == pytest.approx(report["accuracy"]["value"], abs=0.11)  # three of 30 images
    assert half["valid_loss"] != report["valid_loss"]
    rows = run_here("predict", "mine", "photos/valid", "--precision", "bf16", "--json", cwd=work).json["predictions"]
    assert len(rows) == half["accuracy"]["n"] and all(row["label"] for row in rows)


def test_the_same_files_named_as_data(work, report):
    other = run_here("evaluate", "mine", "--data", "photos/valid", "--json", cwd=work).json
    # Paths are relative to another folder, nothing was chosen on the data, and the last two are of a run.
    known = ("warnings", "top_losses", "baselines", "learning_curve")
    assert differences(*({k: v for k, v in d.items() if k not in known} for d in (other, report))) == [
        ".unlike.fitted_here: False and True"
    ]
    assert [row["loss"] for row in other["top_losses"]] == pytest.approx(
        [r["loss"] for r in report["top_losses"]], abs=1e-4
    )


def test_figures_counted_from_predictions(work, report, answers):
    rows = run_here("predict", "mine", "photos/valid", "--batch-size", 7, "--json", cwd=work).json["predictions"]
    pairs = [(Path(row["path"]).parent.name, row["label"]) for row in rows]
    right = sum(truth == label for truth, label in pairs)
    assert len(rows) == report["n"] == len(answers) == 30
    assert right / len(rows) == report["accuracy"]["value"] == pytest.approx(1 - report["error_rate"])
    counted = [[pairs.count((truth, label)) for label in report["classes"]] for truth in report["classes"]]
    assert counted == report["confusion"]
    losses = sorted((-math.log(row["probs"][truth]) for row, (truth, _) in zip(rows, pairs, strict=True)), reverse=True)
    assert [row["loss"] for row in report["top_losses"]] == pytest.approx(losses[:20], abs=1e-4)
    assert right == sum(row["target"] == row["pred"] for row in answers.values())


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_formats_of_predict(work, form):
    whole = run_here("predict", "mine", "photos/valid", "--json", cwd=work).json["predictions"]
    text = run_here("predict", "mine", "photos/valid", "--format", form, cwd=work).stdout
    if form == "json":
        rows = json.loads(text)["predictions"]
    elif form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.DictReader(text.splitlines()))
    assert [(r["path"], r["label"], float(r["prob"])) for r in rows] == [
        (r["path"], r["label"], r["prob"]) for r in whole
    ]


def test_what_training_said_and_kept(work, run, report):
    said = json.loads((run / runs.MANIFEST).read_text())["result"]
    record = json.loads((run / runs.RECORD).read_text())
    listed = run_here("runs", "list", "--json", cwd=work).json["runs"][0]
    assert said["metrics"]["accuracy"] == record["metrics"]["accuracy"] == report["accuracy"]
    assert said["best"]["error_rate"] == record["metrics"]["error_rate"] == listed["error_rate"] == report["error_rate"]
    assert said["metrics"]["macro_f1"]["value"] == report["macro_f1"] == report["macro_f1_interval"]["value"]
    assert record["metrics"]["ece"] == report["ece_after"]


def test_the_page(work, run, report):
    assert run_here("report", "mine", cwd=work).returncode == 0
    page = re.sub(r"<[^>]+>", " ", (run / runs.REPORT).read_text())
    shown = [report["accuracy"]["value"], report["accuracy"]["low"], report["error_rate"], report["macro_f1"]]
    assert [f"{figure:.3f}" for figure in (*shown, report["ece_after"]) if f"{figure:.3f}" not in page] == []
    [strictest, *_] = json.loads((run / runs.RECORD).read_text())["metrics"]["abstention"]
    answered = 100 * strictest["coverage"]["value"]
    assert f"at most {100 * strictest['rate']:g} % wrong with {answered:.1f} % of the images answered" in page
    for row in report["per_class"]:
        assert re.search(rf"{row['class']}\s+{row['n']}\s+{row['recall']:.3f}\s", page)
    assert np.isclose(sum(row["n"] for row in report["per_class"]), report["n"])
