"""The figures of several labels an image."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    log_loss,
    precision_score,
    recall_score,
)

from imgclf.data.labels import parse
from imgclf.errors import DataError, ModelError
from imgclf.results import answers
from imgclf.results.evaluate import Predictions, evaluate
from imgclf.results.tables import evaluation_tables, headline

KEYS = {
    "n", "accuracy", "error_rate", "accuracy_multi", "mAP", "macro_f1", "macro_f1_interval", "micro_f1", "hamming_loss",
    "valid_loss",
    "ece_before", "ece_after", "classes", "per_class", "top_losses", "warnings",
}  # fmt: skip


def several(seed: int = 3, n: int = 60, c: int = 4, strength: float = 2.0, **changes) -> Predictions:
    """Predictions that are better than chance; some labels may be on no image, some images without a label."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, c)) < rng.choice([0, 0.1, 0.5], c)).astype(np.int64)
    logits = (rng.normal(size=(n, c)) + (2 * targets - 1) * strength).astype(np.float32)
    made = {
        "paths": tuple(f"a folder/{i:03d}.jpg" for i in range(n)),
        "logits": logits,
        "targets": targets,
        "classes": tuple(f"label {i}" for i in range(c)),
        "temperature": 1.5,
        "task": "multi",
    }
    return Predictions(**(made | changes))


def given_sets(chosen: list[list[int]], targets: list[list[int]], **changes) -> Predictions:
    logits = (np.array(chosen, dtype=np.float32) * 2 - 1) * 3
    paths, classes = tuple(map(str, range(len(chosen)))), tuple("abcdefgh"[: len(chosen[0])])
    return Predictions(paths, logits, np.array(targets), classes, 1.0, "multi", **changes)


@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 6), st.floats(0, 3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_figures_are_those_of_scikit_learn(seed, n, c, strength, tuned):
    at = tuple(np.random.default_rng(seed).uniform(0.1, 0.9, c).tolist()) if tuned else None
    made = several(seed, n, c, strength, thresholds=at)
    e, y, probs = evaluate(made), made.targets, made.probs
    said = (probs.astype(np.float64) >= np.array(at or [0.5] * c)).astype(int)
    assert e.accuracy.value == pytest.approx((said == y).all(1).mean())
    if c > 1:  # scikit-learn reads one column as single labels
        assert e.accuracy.value == pytest.approx(accuracy_score(y, said))
        assert e.hamming_loss == pytest.approx(hamming_loss(y, said))
    assert e.accuracy_multi == pytest.approx(1 - e.hamming_loss)
    assert e.error_rate == pytest.approx(1 - e.accuracy.value)
    if y.any() or said.any():
        assert e.micro_f1 == pytest.approx(f1_score(y.ravel(), said.ravel(), zero_division=0))
        judged = [i for i in range(c) if y[:, i].any() or said[:, i].any()]
        each = [f1_score(y[:, i], said[:, i], zero_division=0) for i in judged]
        assert e.macro_f1 == pytest.approx(np.mean(each))
    else:
        assert np.isnan(e.macro_f1) and np.isnan(e.micro_f1)
    for i, row in enumerate(e.per_class):
        assert row["n"] == y[:, i].sum() == row["tp"] + row["fn"]
        assert row["tp"] + row["fp"] == said[:, i].sum()
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == n
        assert row["precision"] == pytest.approx(precision_score(y[:, i], said[:, i], zero_division=0))
        assert row["recall"] == pytest.approx(recall_score(y[:, i], said[:, i], zero_division=0))
        assert row["f1"] == pytest.approx(f1_score(y[:, i], said[:, i], zero_division=0))
        assert row["threshold"] == (at[i] if at else 0.5)
        assert (row["ap"] is None) == (row["n"] == 0)
    there = [i for i in range(c) if y[:, i].any()]
    if there:
        assert e.mean_ap == pytest.approx(average_precision_score(y[:, there], probs[:, there], average="macro"))
    else:
        assert np.isnan(e.mean_ap)
    plain = 1 / (1 + np.exp(-made.logits.astype(np.float64)))
    assert e.valid_loss == pytest.approx(log_loss(y.ravel(), plain.ravel(), labels=[0, 1]), rel=1e-5)
    json.dumps(e.to_dict(), allow_nan=False)


def test_the_contract():
    result = evaluate(several(targets=np.zeros((60, 4)), logits=np.full((60, 4), -9.0))).to_dict()
    assert set(result) == KEYS
    assert set(result["accuracy"]) == {"value", "low", "high", "n"}
    assert (result["mAP"], result["macro_f1"], result["micro_f1"]) == (None, None, None)
    assert result["accuracy"]["value"] == result["accuracy_multi"] == 1
    assert result["classes"] == ["label 0", "label 1", "label 2", "label 3"]


def test_targets_may_be_of_any_kind_of_number():
    whole = several()
    for kind in (np.float32, bool):
        assert evaluate(several(targets=whole.targets.astype(kind))).to_dict() == evaluate(whole).to_dict()


def test_probabilities_follow_the_temperature_and_the_order_stays():
    hot, cold = evaluate(several(temperature=3.0)), evaluate(several(temperature=1.0))
    assert several(temperature=3.0).probs.dtype == np.float32
    assert (hot.valid_loss, hot.ece_before, hot.accuracy) == (cold.valid_loss, cold.ece_before, cold.accuracy)
    assert [row["ap"] for row in hot.per_class] == [row["ap"] for row in cold.per_class]
    assert cold.ece_before == cold.ece_after != hot.ece_after


def test_log_odds_of_calibrated_probabilities_have_no_before():
    probs = np.array([[0.9, 0.0], [0.2, 1.0]])
    with np.errstate(divide="ignore"):
        odds = np.log(probs) - np.log1p(-probs)
    made = Predictions(("a", "b"), odds, np.array([[1, 1], [0, 1]]), ("x", "y"), None, "multi")
    assert made.probs == pytest.approx(probs, abs=1e-6)
    result = evaluate(made)
    assert result.ece_before is None
    # Surely not, and yet it is: as if 0 were the smallest float32.
    assert result.top_losses[0]["path"] == "a"
    assert result.top_losses[0]["loss"] == pytest.approx((87.34 - np.log(0.9)) / 2, abs=0.01)
    assert np.isfinite(result.valid_loss)


def test_top_losses_name_all_labels():
    made = given_sets([[1, 0, 1], [0, 0, 0], [1, 1, 0]], [[1, 0, 1], [1, 1, 1], [0, 0, 0]])
    first, second, third = evaluate(made).top_losses
    right, wrong = np.log1p(np.exp(-3)), np.log1p(np.exp(3))
    assert (first["path"], first["label"], first["labels"]) == ("1", "a, b, c", ["a", "b", "c"])
    assert (first["pred"], first["preds"], first["loss"]) == ("", [], pytest.approx(wrong))
    assert (second["label"], second["labels"], second["preds"]) == ("", [], ["a", "b"])
    assert (third["label"], third["pred"], third["loss"]) == ("a, c", "a, c", pytest.approx(right))
    assert third["prob"] == pytest.approx(1 / (1 + np.exp(-3)))
    assert len(evaluate(made, top_losses=1).top_losses) == 1


def test_thresholds_decide():
    probs = np.array([[0.3, 0.6]])
    made = given_sets([[0, 0]], [[1, 0]], thresholds=(0.25, 0.7))
    made.logits[:] = np.log(probs / (1 - probs))
    assert evaluate(made).accuracy.value == 1
    assert evaluate(given_sets([[0, 1]], [[1, 0]])).accuracy.value == 0


def test_warnings():
    few = evaluate(given_sets([[1, 0, 0]], [[1, 0, 0]])).warnings
    assert few == [
        "only 1 images: the accuracy may lie anywhere in its interval",
        "2 of 3 labels have no image here and so no AP: b, c",
        "1 of 3 labels have fewer than 10 images, marked few: a (1)",
    ]
    assert evaluate(given_sets([[1, 0], [0, 1]] * 20, [[1, 0], [0, 1]] * 20)).warnings == []


def test_nothing_to_judge_and_answers_that_are_no_numbers():
    with pytest.raises(DataError, match="no labelled images"):
        evaluate(several(n=0))
    made = several()
    made.logits[5, 1] = np.nan
    with pytest.raises(ModelError, match=r"1 of 60 images, the first is .*005\.jpg"):
        evaluate(made)


def printed(made: Predictions, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(evaluation_tables(evaluate(made)))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("c", [3, 40])
def test_tables_fit_the_window(width, c):
    rng = np.random.default_rng(1)
    made = several(c=c, targets=rng.integers(0, 2, (60, c)), logits=rng.normal(size=(60, c)))
    text, e = printed(made, width), evaluate(made)
    assert max(map(len, text.splitlines())) <= width
    assert f"all labels right {e.accuracy.value:.3f} (" in text
    assert f"mAP {e.mean_ap:.3f}, macro F1 {e.macro_f1:.3f}" in text
    assert ("The 10 worst of 40 labels by AP" in text) == (c == 40)
    assert len(re.findall(r"^label \d+ +\d+( +\d\.\d{3}){5}$", text, re.MULTILINE)) == min(c, 10)


def test_no_label_at_all_is_said():
    made = given_sets([[0, 0], [1, 0]], [[0, 0], [0, 0]])
    assert "(no label) → a" in printed(made, 80)
    assert "mAP -, macro F1 0.000, micro F1 0.000" in str(headline(evaluate(made)))


def test_stored_answers_hold_sets_of_labels(tmp_path):
    made = Predictions(
        ("1.jpg", "2.jpg"), np.array([[3.0, -3, 3], [-3, -3, -2]]), np.array([[1, 0, 1], [0, 1, 0]]),
        ("a;b", "c", "d, e"), 1.0, "multi",
    )  # fmt: skip
    file = tmp_path / "predictions.csv"
    file.write_text(answers.to_csv(made), encoding="utf-8")
    first, second = answers.read_csv(file).values()
    assert (parse(first.target), first.right, first.prob) == (("a;b", "d, e"), True, pytest.approx(0.952574))
    assert (parse(second.target), parse(second.pred), second.right) == (("c",), (), False)
