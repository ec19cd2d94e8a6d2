import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgclf.errors import DataError, ExportError, ModelError, UserError
from imgclf.shipping import bundle, exporters, inference, verify
from imgclf.shipping.tolerance import TOLERANCES, Tolerance, compare


@pytest.mark.parametrize(
    ("found", "agreement", "passed"),
    [
        ([[0.8, 0.2]], 1.0, True),
        ([[0.8004, 0.1996]], 1.0, True),
        ([[0.81, 0.19]], 1.0, False),
        ([[0.2, 0.8]], 0.0, False),
        ([[np.nan, 0.2]], 0.0, False),
        ([[0.8, 0.1, 0.1]], 0.0, False),
    ],
)
def test_compare(found, agreement, passed):
    result = compare(np.array([[0.8, 0.2]]), np.array(found), Tolerance(0.001))
    assert (result.top1_agreement, result.passed) == (agreement, passed)
    json.dumps(result.to_dict(), allow_nan=False)


def test_between_equals_either_class_is_right():
    expected, other = np.array([[0.5002, 0.4998], [0.9, 0.1]]), np.array([[0.4998, 0.5002], [0.9, 0.1]])
    assert compare(expected, other, Tolerance(0.001)).passed
    assert not compare(expected, other, Tolerance(0.0001)).passed
    assert compare(np.array([[0.6, 0.4]]), np.array([[0.45, 0.55]]), Tolerance(0.16)).top1_agreement == 0.0


def test_eight_bits_may_change_a_few_answers_but_not_many():
    expected = np.full((100, 2), [0.6, 0.4])
    found = expected.copy()
    found[:5] = [0.4, 0.6]
    result = compare(expected, found, TOLERANCES["onnx-int8"])
    assert result.passed and result.top1_agreement == 0.95  # 0.2 is no tie
    found[5] = [0.4, 0.6]
    assert not compare(expected, found, TOLERANCES["onnx-int8"]).passed
    assert not compare(expected, found, TOLERANCES["onnx-fp16"]).passed
    nearly = np.full((100, 2), [0.505, 0.495])
    assert compare(nearly, nearly[:, ::-1], TOLERANCES["onnx-fp16"]).passed
    found = np.full((100, 2), [0.6, 0.4])
    found[0] = [1.0, 0.0]
    assert compare(found, np.full((100, 2), [0.6, 0.4]), TOLERANCES["onnx-int8"]).passed
    found[0] = [0.05, 0.95]
    assert not compare(expected, found, TOLERANCES["onnx-int8"]).passed


def test_only_the_readable_files_are_compared(model, photos, tmp_path):
    reference = inference.load(model)
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    seen = []

    def probs(paths):
        seen.extend(paths)
        return np.stack([p.probs for p in reference.predict(paths)])

    both = verify.answers(reference, probs, [photos[0], bad, photos[1]])
    assert compare(both.expected, both.found, Tolerance(1e-5)).n_images == 2
    assert seen == photos[:2] == both.paths
    with pytest.raises(DataError):
        verify.answers(reference, probs, [bad])


@pytest.fixture(scope="module")
def once(model, photos, tmp_path_factory):
    file = exporters.export(model, "safetensors", tmp_path_factory.mktemp("export") / "m.safetensors")
    assert verify.check(file, "safetensors", model, photos).passed
    return file


@pytest.fixture
def exported(once, tmp_path):
    """A verified export that may be damaged."""
    return Path(shutil.copytree(once.parent, tmp_path / "export")) / once.name


def test_the_sidecar_tells_all(exported, photos):
    facts = json.loads(verify.sidecar(exported).read_text(encoding="utf-8"))
    assert facts["passed"] is True and facts["parity"]["n_images"] == len(photos)
    assert facts["bytes"] == exported.stat().st_size and facts["format"] == "safetensors"
    assert len(facts["golden"]["images"]) == 3
    assert str(photos[0].parent) not in json.dumps(facts)


def test_the_sidecar_tells_accuracy_before_and_after_and_the_time(model, photos, tmp_path):
    """Of a file that answers with the classes turned round: the unreadable image is left out of the truth as well."""
    state, record = bundle.read(model)
    file = bundle.write(tmp_path / "m.safetensors", {**state, "1.8.weight": -state["1.8.weight"]}, record)
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    probs = np.stack([p.probs for p in inference.load(model).predict(photos)])
    targets = np.insert(probs.argmax(1), 1, 0)
    assert not verify.check(
        file, "safetensors", model, [photos[0], bad, *photos[1:]], targets=targets, timed=True
    ).passed
    facts = verify.read_sidecar(file)
    found, n = facts["accuracy"], len(photos)
    assert (found["model"]["value"], found["model"]["n"]) == (1.0, n) and found["model"]["low"] < 1
    assert found["export"]["value"] == pytest.approx(1 - found["lost"] / n) and found["lost"] > 0 == found["gained"]
    assert found["difference"] == pytest.approx(-found["lost"] / n)
    assert facts["latency_ms"]["batch_1"] > 0 < facts["latency_ms"]["batch_32"]
    assert facts["preprocess"] == record.preprocess.to_dict() | {
        "mean": [*record.preprocess.mean],
        "std": [*record.preprocess.std],
    }


def test_golden_images_pass(exported):
    result = verify.verify_golden(exported)
    assert result["passed"] and result["parity"]["n_images"] == 3 and result["checked"] == ["sha256", "golden"]


def edit(file, change):
    path = verify.sidecar(file)
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")


def test_other_answers_fail(exported):
    edit(exported, lambda facts: facts["golden"]["images"][1]["probs"].reverse())
    with pytest.raises(ExportError, match="other answers"):
        verify.verify_golden(exported)


def test_another_file_fails(exported):
    exported.write_bytes(exported.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ExportError, match="SHA-256"):
        verify.verify_golden(exported)


def test_a_file_that_never_passed_fails(exported):
    edit(exported, lambda facts: facts.update(passed=False))
    with pytest.raises(ExportError, match="did not pass"):
        verify.verify_golden(exported)


def test_a_missing_sidecar_says_how_to_make_one(exported):
    verify.sidecar(exported).unlink()
    with pytest.raises(ModelError) as caught:
        verify.verify_golden(exported)
    assert "imgclf export" in caught.value.hint


def test_a_file_that_is_not_there_is_not_one_without_a_sidecar(tmp_path):
    with pytest.raises(ModelError, match=r"there is no file .*model\.onnx$"):
        verify.verify_golden(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"{", b"[1, 2", b"\xff\xfe", b'{"format": "onnx", "format": "onnx"}'])
def test_a_sidecar_that_is_no_json_is_named(exported, content):
    verify.sidecar(exported).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        verify.verify_golden(exported)
    assert str(verify.sidecar(exported)) in caught.value.message and "model record" not in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(format=["onnx"]),
        lambda f: f.update(golden=None),
        lambda f: f["golden"].update(images=[]),
        lambda f: f["golden"]["images"][0].update(png="????"),
        lambda f: f["golden"]["images"][0].update(png="AAAA"),
        lambda f: f["golden"]["images"][0].update(probs=[1.0]),
        lambda f: [image.update(probs=[0.5, 0.5]) for image in f["golden"]["images"]],
    ],
)
def test_a_broken_sidecar_is_refused(exported, change):
    edit(exported, change)
    with pytest.raises(ModelError):
        verify.verify_golden(exported)


def test_a_wrong_export_is_recorded_as_such(model, photos, tmp_path):
    state, record = bundle.read(model)
    file = bundle.write(tmp_path / "m.safetensors", {**state, "1.8.weight": -state["1.8.weight"]}, record)
    result = verify.check(file, "safetensors", model, photos)
    assert not result.passed and json.loads(verify.sidecar(file).read_text(encoding="utf-8"))["passed"] is False
    error = verify.failure(file, result)
    assert error.exit_code == 5 and str(file) in error.message


def test_classes_in_another_order_are_noticed(model, photos, tmp_path):
    state, record = bundle.read(model)
    swapped = replace(record, classes=record.classes[::-1])
    file = bundle.write(tmp_path / "m.safetensors", state, swapped)
    with pytest.raises(ExportError, match="other classes"):
        verify.check(file, "safetensors", model, photos)


def test_an_unknown_format_gets_a_suggestion(model, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'onnx'") as caught:
        exporters.export(model, "onx", tmp_path / "m")
    assert caught.value.exit_code == 2


def test_a_place_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot write"):
        exporters.export(model, "safetensors", tmp_path / "file" / "m.safetensors")
