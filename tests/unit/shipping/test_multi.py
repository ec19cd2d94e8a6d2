"""A model for several labels an image: the record, the answers, and the same answers in every format."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import need_openvino, run_here

from imgclf import runs
from imgclf.data import labels
from imgclf.errors import ExportError, ModelError
from imgclf.shipping import bundle, exporters, inference, prediction, verify
from imgclf.shipping.record import Record
from imgclf.shipping.tolerance import Tolerance, compare
from imgclf.workflow.export import SUFFIXES

TEMPERATURE = 0.03
THRESHOLDS = (0.6, 0.35, 0.7)  # with it: no label, one or two; not always that of the highest probability


@pytest.fixture(scope="module")
def multi_model(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi")
    state, record = bundle.read(model)
    bundle.save(folder, state, replace(record, task="multi", thresholds=THRESHOLDS, temperature=TEMPERATURE))
    return folder


@pytest.fixture(scope="module")
def predictor(multi_model):
    return inference.load(multi_model)


@pytest.fixture(scope="module")
def exported(multi_model, tmp_path_factory):
    """One verified export a format, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("export"), {}

    def export(fmt):
        if fmt == "onnx":
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnxscript")
        if fmt not in made:
            made[fmt] = exporters.export(multi_model, fmt, folder / f"model{SUFFIXES[fmt]}")
        return made[fmt]

    return export


def probs_of(predictor, photos):
    return np.stack([p.probs for p in predictor.predict(photos)])


# the record


def test_the_record_keeps_task_and_thresholds(multi_model, make_record):
    assert bundle.load(multi_model)[1].thresholds == THRESHOLDS
    for path in (multi_model, multi_model / runs.WEIGHTS):
        found = inference.load(path)
        assert (found.task, found.thresholds) == ("multi", THRESHOLDS)
    data = json.loads((multi_model / runs.RECORD).read_text(encoding="utf-8"))
    assert (data["task"], data["thresholds"]) == ("multi", list(THRESHOLDS))
    record = make_record(task="multi")
    assert record.thresholds is None and record.cutoffs == (0.5, 0.5, 0.5)
    assert Record.from_json(record.to_json()) == record
    assert make_record().cutoffs is None


def test_files_from_before_there_was_a_task_have_one_label(make_record):
    data = make_record().to_dict()
    del data["task"], data["thresholds"]
    assert Record.from_dict(data) == make_record()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "several"}, "task"),
        ({"task": ["multi"]}, "task"),
        ({"task": None}, "task"),
        ({"task": "single", "thresholds": [0.5, 0.5, 0.5]}, "no thresholds"),
        ({"thresholds": [0.5, 0.5]}, "2 thresholds and 3 class names"),
        ({"thresholds": []}, "0 thresholds"),
        ({"thresholds": [0.5, 0.5, float("nan")]}, "from 0 to 1"),
        ({"thresholds": [0.5, 0.5, 1.01]}, "from 0 to 1"),
        ({"thresholds": [0.5, 0.5, -0.01]}, "from 0 to 1"),
        ({"thresholds": [0.5, 0.5, True]}, "from 0 to 1"),
        ({"thresholds": [0.5, 0.5, "1"]}, "from 0 to 1"),
        ({"thresholds": 0.5}, "from 0 to 1"),
        ({"thresholds": "abc"}, "from 0 to 1"),
        ({"thresholds": {"a": 1, "b": 1, "c": 1}}, "from 0 to 1"),
    ],
    ids=str,
)
def test_a_wrong_task_or_threshold_is_refused(make_record, change, message):
    data = {**make_record(task="multi").to_dict(), **change}
    with pytest.raises(ModelError, match=message):
        Record.from_json(json.dumps(data))


# answers


def test_probabilities_are_those_of_a_sigmoid(predictor, net, photos):
    p = predictor.preprocess
    pixels = np.stack([p.load(path) for path in photos])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (p.mean, p.std))
    with torch.no_grad():
        logits = net((torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(predictor.probs(pixels), (logits / TEMPERATURE).sigmoid(), atol=1e-4)
    np.testing.assert_allclose(probs_of(predictor, photos), (logits / TEMPERATURE).sigmoid(), atol=1e-4)
    assert predictor.probs(pixels[:0]).shape == (0, 3)


def test_the_labels_are_those_that_reach_their_threshold(predictor, photos):
    found = list(predictor.predict(photos))
    assert len({p.labels for p in found}) > 2  # else this would prove little
    for p in found:
        assert p.label is None and p.prob == p.probs.max()
        expected = {n for n, q, t in zip(predictor.classes, p.probs, THRESHOLDS, strict=True) if q >= t}
        assert set(p.labels) == expected and len(p.labels) == len(expected)
        order = [p.probs[predictor.classes.index(name)] for name in p.labels]
        assert order == sorted(order, reverse=True)


def answer(probs, thresholds):
    probs = np.array(probs, np.float32)
    return prediction.answer(Path("x.png"), probs, probs, ("a", "b"), thresholds)


def test_a_probability_at_its_threshold_is_enough_and_no_label_is_an_answer():
    assert answer([0.5, 0.75], (0.5, 0.75)).labels == ("b", "a")
    assert answer([0.49, 0.74], (0.5, 0.75)).labels == ()
    exact = float(np.float32(0.1))  # a threshold taken from a probability
    assert answer([0.1, 0.0], (exact, 0.5)).labels == ("a",)
    assert answer([0.1, 0.0], (np.nextafter(exact, 1), 0.5)).labels == ()


def test_rows_have_labels_in_place_of_a_label(predictor, photos):
    row = next(predictor.predict(photos)).to_row(predictor.classes, top_k=1)
    assert row.keys() == {"path", "labels", "probs"} and len(row["probs"]) == 1
    json.dumps(row)
    assert answer([0.1, 0.2], (0.5, 0.5)).to_row(("a", "b"))["labels"] == []


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5))
def test_logits_of_probabilities_give_them_back(values):
    probs = np.array([values], np.float32)
    logits = prediction.logits_of(probs, "multi")
    assert np.isfinite(logits).all() and logits.dtype == np.float32
    np.testing.assert_allclose(prediction.calibrated(logits, None, "multi"), probs, rtol=1e-5, atol=1e-7)


def test_extreme_logits_stay_numbers():
    with np.errstate(all="raise"):
        found = prediction.calibrated(np.array([[-1e4, 0, 1e4]], np.float32), 0.001, "multi")
    assert found.tolist() == [[0, 0.5, 1]]


@pytest.mark.parametrize("fmt", ["safetensors", "onnx"])
def test_one_image_a_batch_and_an_export_agree(predictor, exported, photos, fmt):
    other = inference.load(exported(fmt))
    assert (other.task, other.thresholds, other.classes) == ("multi", THRESHOLDS, predictor.classes)
    batch = list(predictor.predict(photos))
    for size in (1, 64):
        for one, two in zip(batch, other.predict(photos, batch_size=size), strict=True):
            np.testing.assert_allclose(two.probs, one.probs, atol=1e-4)
            assert two.labels == one.labels
    if fmt == "onnx":
        assert other.temperature is None
        np.testing.assert_allclose(two.logits, one.logits / TEMPERATURE, atol=1e-3)


# exports


@pytest.mark.parametrize("fmt", exporters.FORMATS)
def test_every_export_gives_the_same_answers(multi_model, exported, photos, fmt):
    if fmt == "openvino":
        need_openvino()
    file = exported(fmt)
    parity = verify.check(file, fmt, multi_model, photos)
    assert parity.passed and parity.top1_agreement == 1 and parity.max_abs_diff < 1e-4
    assert verify.verify_golden(file)["passed"]


def test_the_onnx_metadata_says_how_to_read_it(exported):
    onnx = pytest.importorskip("onnx")
    facts = {p.key: json.loads(p.value) for p in onnx.load(exported("onnx")).metadata_props}
    assert (facts["task"], facts["thresholds"]) == ("multi", list(THRESHOLDS))


@pytest.mark.parametrize(
    ("key", "value"), [("task", '"several"'), ("thresholds", "[0.5]"), ("thresholds", "[NaN, 0, 0]"), ("task", "x")]
)
def test_onnx_metadata_that_cannot_be_right_is_refused(exported, tmp_path, key, value):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(exported("onnx"))
    for entry in proto.metadata_props:
        entry.value = value if entry.key == key else entry.value
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError):
        inference.load(tmp_path / "m.onnx")


def test_fastai_predicts_the_labels_by_the_same_thresholds(predictor, exported, photos):
    from fastai.learner import load_learner

    learner = load_learner(exported("pkl"))
    for photo, ours in zip(photos, predictor.predict(photos, full_decode=True), strict=True):
        with learner.no_bar(), learner.no_logging():
            found, _, probs = learner.predict(photo)
        assert set(found) == set(ours.labels)
        np.testing.assert_allclose(probs, ours.probs, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 1.0, float(np.float32(0.1))])
def test_fastais_more_than_means_our_as_much_as(make_record, threshold):
    from imgclf.shipping.exporters.pkl import _loss_func

    near = np.float32(threshold)
    probs = np.array([[np.nextafter(near, np.float32(-1)), near, np.nextafter(near, np.float32(2))]], np.float32).T
    decoded = _loss_func(make_record(task="multi", thresholds=(threshold,) * 3)).decodes(torch.tensor(probs))
    assert decoded[:, 0].tolist() == (probs[:, 0] >= np.float64(threshold)).tolist()


def test_other_thresholds_are_noticed(multi_model, photos, tmp_path):
    state, record = bundle.read(multi_model)
    for changes in ({"thresholds": (0.6, 0.35, 0.6)}, {"task": "single", "thresholds": None}):
        other = Record.from_dict({**record.to_dict(), **changes})
        file = bundle.write(tmp_path / "m.safetensors", state, other)
        with pytest.raises(ExportError, match="thresholds"):
            verify.check(file, "safetensors", multi_model, photos)


@pytest.mark.parametrize(
    ("found", "agreement", "passed"),
    [
        ([[0.8, 0.2]], 1.0, True),
        ([[0.3, 0.2]], 0.0, False),  # the best class is the same, but it is no label any more
        ([[0.7, 0.2]], 1.0, False),  # the same labels, with other probabilities
        ([[0.8, 0.4]], 0.0, False),
    ],
)
def test_agreement_is_that_of_the_labels(found, agreement, passed):
    result = compare(np.array([[0.8, 0.2]]), np.array(found), Tolerance(0.001), thresholds=(0.5, 0.3))
    assert (result.top1_agreement, result.passed) == (agreement, passed)


def test_at_the_threshold_either_answer_is_right():
    expected, other = np.array([[0.5002, 0.1]]), np.array([[0.4999, 0.1]])
    assert compare(expected, other, Tolerance(0.001), (0.5, 0.5)).passed
    assert compare(expected, other, Tolerance(0.0001), (0.5, 0.5)).top1_agreement == 0


# through the commands


@pytest.fixture
def photo_folder(photos, tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    return [str(p) for p in (*photos, tmp_path / "broken.jpg")]


def test_predict_as_csv(multi_model, predictor, photos, photo_folder, tmp_path):
    done = run_here("predict", multi_model, *photo_folder, "--format", "csv", cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 3 and list(rows[0]) == ["path", "labels", "error", *predictor.classes]
    for row, expected in zip(rows, predictor.predict(photos), strict=False):
        assert labels.parse(row["labels"]) == expected.labels and row["error"] == ""
        assert float(row[predictor.classes[0]]) == pytest.approx(expected.probs[0], abs=1e-4)
    assert rows[-1]["labels"] == "" and "not an image" in rows[-1]["error"]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_predict_as_json(multi_model, predictor, photos, photo_folder, tmp_path, form):
    done = run_here("predict", multi_model, *photo_folder, "--format", form, cwd=tmp_path)
    text = done.stdout
    rows = json.loads(text)["predictions"] if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert [tuple(row["labels"]) for row in rows[:-1]] == [p.labels for p in predictor.predict(photos)]
    assert rows[-1].keys() == {"path", "error"}


def test_predict_as_a_table(multi_model, predictor, photos, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    text = run_here("predict", multi_model, *photo_folder, "--top-k", "1", cwd=tmp_path).stdout
    found = list(predictor.predict(photos))
    assert any(not p.labels for p in found) and any(len(p.labels) > 1 for p in found)
    lines = {p.path: next(line for line in text.splitlines() if p.path.name in line) for p in found}
    for p in found:
        assert all(name in lines[p.path] for name in p.labels) if p.labels else "none" in lines[p.path]
    assert "unreadable: not an image" in text


def test_export_of_a_run(multi_model, photos, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in (runs.WEIGHTS, runs.RECORD):
        (run / name).write_bytes((multi_model / name).read_bytes())
    runs.write_json(run / runs.MANIFEST, {"status": "finished", "data_root": str(photos[0].parent)})
    rows = "".join(f"{p.name},{cell},valid,,\n" for p, cell in zip(photos, ["a", "", "a;b"] * 2, strict=True))
    (run / runs.SPLIT).write_text("path,label,split,size,hash\n" + rows)
    done = run_here("export", run, "--format", "safetensors", "--json", cwd=tmp_path)
    [file] = json.loads(done.stdout)["files"]
    assert file["parity"] == {"n_images": 6, "max_abs_diff": 0.0, "top1_agreement": 1.0, "passed": True}
