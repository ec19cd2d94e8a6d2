import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from imgclf.console import finite
from imgclf.errors import DataError, ModelError, UserError
from imgclf.results.evaluate import Predictions, evaluate, top_k
from imgclf.results.metrics import top_k_accuracy
from imgclf.results.tables import evaluation_tables, headline

CONTRACT = {"n", "accuracy", "error_rate", "per_class", "confusion", "classes", "ece_before", "ece_after", "top_losses"}


def predictions(n: int = 60, c: int = 3, strength: float = 4.0, temperature: float | None = 1.5) -> Predictions:
    rng = np.random.default_rng(3)
    targets = np.arange(n) % c
    logits = rng.normal(size=(n, c)) + np.eye(c)[targets] * strength
    paths = tuple(f"a folder/with a long name/{i:03d}.jpg" for i in range(n))
    return Predictions(paths, logits.astype(np.float32), targets, tuple(f"class {i}" for i in range(c)), temperature)


def answers(chosen: list[int], targets: list[int], c: int = 3) -> Predictions:
    logits = np.eye(c, dtype=np.float32)[chosen] * 5
    return Predictions(tuple(map(str, range(len(chosen)))), logits, np.array(targets), tuple("abcdefgh"[:c]), 1.0)


def test_the_contract():
    result = evaluate(predictions()).to_dict()
    assert set(result) >= CONTRACT
    assert set(result["accuracy"]) == {"value", "low", "high", "n"}
    assert set(result["top_losses"][0]) == {"path", "label", "pred", "loss", "prob"}
    assert set(result["per_class"][0]) >= {"class", "n", "precision", "recall", "f1"}
    assert json.loads(json.dumps(finite(result), allow_nan=False)) == finite(result)


def test_figures_agree_with_each_other():
    e = evaluate(predictions(strength=1.0))
    assert e.n == e.accuracy.n == sum(map(sum, e.confusion)) == sum(row["n"] for row in e.per_class) == 60
    assert e.error_rate == pytest.approx(1 - e.accuracy.value)
    assert sum(pair["n"] for pair in e.most_confused) == round(e.error_rate * 60)
    assert e.majority_baseline.value == pytest.approx(1 / 3)


def test_probabilities_follow_the_temperature():
    hot, cold = predictions(temperature=2.0), predictions(temperature=1.0)
    assert hot.probs.max(1).mean() < cold.probs.max(1).mean()
    before, after = evaluate(hot), evaluate(cold)
    assert before.valid_loss == after.valid_loss
    assert before.accuracy == after.accuracy
    assert after.ece_before == after.ece_after
    assert before.ece_before == after.ece_before


def test_probabilities_alone_have_no_before():
    probs = np.array([[0.9, 0.1], [0.3, 0.7], [1.0, 0.0]])
    with np.errstate(divide="ignore"):
        given = Predictions(("a", "b", "c"), np.log(probs).astype(np.float32), np.array([0, 1, 1]), ("x", "y"), None)
    assert given.probs == pytest.approx(probs, abs=1e-6)
    result = evaluate(given).to_dict()
    assert result["ece_before"] is None
    assert result["top_losses"][0]["path"] == "c"
    assert np.isfinite(result["top_losses"][0]["loss"])


def test_top_losses_are_the_highest_first():
    given = predictions(strength=1.0)
    rows = evaluate(given, top_losses=7).top_losses
    every = -np.log(given.probs[np.arange(60), given.targets])
    assert [r["loss"] for r in rows] == pytest.approx(sorted(every, reverse=True)[:7], rel=1e-4)
    worst = int(every.argmax())
    assert rows[0]["path"] == given.paths[worst]
    assert rows[0]["prob"] == pytest.approx(given.probs[worst].max())
    assert evaluate(given, top_losses=0).top_losses == []


def test_top_five_only_beyond_five_classes():
    assert "top5_accuracy" not in evaluate(predictions(c=5)).to_dict()
    assert evaluate(predictions(c=6, strength=9)).to_dict()["top5_accuracy"]["value"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answers([0] * 40, [0] * 30 + [1] * 5 + [2] * 5), "no better than always answering 'a' (0.750)"),
        (answers([0] * 31 + [1] + [0] * 8, [0] * 30 + [1] * 10), "not clearly better than always"),
        (answers([0, 1, 2], [0, 1, 2]), "only 3 images"),
        (answers([0, 1] * 20, [0, 1] * 20), "1 of 3 classes have no image here and are not judged: c"),
    ],
)
def test_warnings(given, said):
    assert said in "\n".join(evaluate(given).warnings)


def test_classes_with_few_images_are_marked():
    given = answers([0] * 20 + [1] * 20 + [2], [0] * 20 + [1] * 20 + [2])
    assert evaluate(given).warnings == ["1 of 3 classes have fewer than 10 images, marked few: c (1)"]
    assert re.findall(r"^(\w) +few \d+", printed(given, 80), re.MULTILINE) == ["c"]


def test_top_k_is_asked_for():
    given = predictions(c=8, strength=1.0)
    e = replace(evaluate(given), top_k_accuracy=top_k(given, 3))
    assert e.to_dict()["top_k_accuracy"] == {"k": 3, **top_k_accuracy(given.probs, given.targets, 3).to_dict()}
    assert "top_k_accuracy" not in evaluate(given).to_dict()
    assert "top-3 accuracy" in str(headline(e))
    assert str(headline(replace(e, top_k_accuracy=top_k(given, 5)))).count("top-5 accuracy") == 1


@pytest.mark.parametrize(("k", "c"), [(0, 3), (3, 3), (99, 3)])
def test_a_top_k_that_says_nothing(k, c):
    with pytest.raises(UserError, match=f"--top-k {k}: with 3 classes .* 1 to 2"):
        top_k(predictions(c=c), k)


def test_a_good_model_has_no_warning():
    assert evaluate(predictions(strength=12)).warnings == []


def test_nothing_to_judge():
    empty = Predictions((), np.zeros((0, 2), np.float32), np.zeros(0, np.int64), ("a", "b"), 1.0)
    with pytest.raises(DataError, match="no labelled images"):
        evaluate(empty)


def test_answers_that_are_no_numbers():
    given = predictions()
    given.logits[5, 1] = np.nan
    with pytest.raises(ModelError, match=r"1 of 60 images, the first is .*005\.jpg"):
        evaluate(given)


def printed(given: Predictions, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(evaluation_tables(evaluate(given)))
    return capture.get()


@pytest.mark.parametrize("width", [50, 80])
@pytest.mark.parametrize("c", [2, 30])
def test_tables_fit_the_window(width, c):
    given = predictions(n=120, c=c, strength=1.0)
    text, accuracy = printed(given, width), evaluate(given).accuracy
    assert max(map(len, text.splitlines())) <= width
    assert f"accuracy {accuracy.value:.3f} ({accuracy.low:.3f}–{accuracy.high:.3f}," in text
    assert ("The 10 worst of 30 classes by F1" in text) == (c == 30)
    assert len(re.findall(r"^class \d+ +(few )?\d+( +\d\.\d{3}){3}$", text, re.MULTILINE)) == min(c, 10)
    assert "\x1b" not in text


def test_long_names_fold_but_figures_never():
    given = predictions(strength=1.0)
    long = Predictions(given.paths, given.logits, given.targets, ("x" * 90, "y" * 90, "z" * 90), 1.0)
    assert len(re.findall(r"( +\d\.\d{3}){3}$", printed(long, 40), re.MULTILINE)) == 3


def test_top_losses_show_the_whole_path():
    given = predictions(strength=1.0)
    assert evaluate(given).top_losses[0]["path"] in printed(given, 60)
