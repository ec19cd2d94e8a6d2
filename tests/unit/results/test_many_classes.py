"""Ten thousand classes: every figure, table, page and picture stays readable and small."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from imgclf.console import finite
from imgclf.data.images import Preprocess
from imgclf.results import evaluate, plots, report, tables
from imgclf.results.sections.content import Content
from imgclf.training import plan_view
from imgclf.workflow import keeping

N, C = 2_000, 10_000


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, C, N)
    logits = rng.normal(size=(N, C)).astype(np.float32)
    logits[np.arange(N), targets] += rng.normal(4, 2, N)
    names = tuple(f"class {i}" for i in range(C))
    return evaluate.Predictions(tuple(f"{i}.jpg" for i in range(N)), logits, targets, names, 1.0)


@pytest.fixture(scope="module")
def found(predictions):
    return evaluate.evaluate(predictions)


def shown(renderable, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width).print(renderable)
    return stream.getvalue()


def test_the_json_has_no_matrix_but_every_mistake(found):
    data = finite(found.to_dict())
    assert data["confusion"] is None
    assert sum(pair["n"] for pair in data["most_confused"]) == round(found.error_rate * N)
    assert len(data["per_class"]) == C
    assert len(json.dumps(data)) < 3_000_000


@pytest.mark.parametrize(("most", "there"), [(3, True), (2, False)])
def test_the_matrix_is_there_up_to_the_limit(monkeypatch, most, there):
    monkeypatch.setattr(evaluate, "MOST_CONFUSION", most)
    logits = np.eye(3, dtype=np.float32)
    three = evaluate.Predictions(("a", "b", "c"), logits, np.arange(3), ("x", "y", "z"), 1.0)
    assert (evaluate.evaluate(three).confusion is not None) == there


def test_the_terminal_shows_the_worst(found):
    text = shown(tables.evaluation_tables(found))
    assert "The 10 worst of 10000 classes by F1" in text
    assert len(text.splitlines()) < 60


def test_the_page_shows_the_worst(found, tmp_path):
    page = report.write_report(tmp_path / "report.html", Content("t", evaluation=finite(found.to_dict())))
    text = page.read_text(encoding="utf-8")
    assert "The 300 worst of 10000 classes by F1" in text
    assert 300 < text.count("<tr>") < 400


def test_the_picture_shows_the_most_confused(predictions, found, tmp_path, monkeypatch):
    asked = {}

    def plot(counts, names, path, support, of):
        asked.update(counts=np.array(counts), names=names, support=support, of=of)
        return real(counts, names, path, support, of)

    real = plots.confusion_plot
    monkeypatch.setattr(plots, "confusion_plot", plot)
    path = keeping._confusion(predictions, found, tmp_path / "c.png")
    commonest = found.most_confused[0]
    assert {commonest["truth"], commonest["predicted"]} <= set(asked["names"])
    assert (asked["counts"].shape, asked["of"]) == ((20, 20), C)
    assert (asked["counts"].sum(1) <= asked["support"]).all() and asked["counts"].sum() > 0
    with Image.open(path) as image:
        assert max(image.size) < 2_000


def test_the_plan_names_a_few(found):
    text = shown(
        plan_view.facts(
            classes=found.classes, n_train=N, n_valid=N, batch_size=64, batches=31, workers=0, device="cpu",
            preprocess=Preprocess(32), arch="resnet18", pretrained=True, precision="fp32",
        )
    )  # fmt: skip
    assert "10000: class 0, class 1" in text
    assert len(text) < 1_000


def test_several_labels_show_training_images_and_weights_and_the_worst(tmp_path):
    rng = np.random.default_rng(0)
    targets = (rng.random((20, 400)) < 0.3).astype(np.int64)
    logits = rng.normal(size=targets.shape).astype(np.float32)
    names = tuple(f"label {i}" for i in range(400))
    multi = evaluate.evaluate(evaluate.Predictions(tuple(map(str, range(20))), logits, targets, names, 1.0, "multi"))
    told = replace(multi, per_class=[{**row, "n_train": 1234, "weight": 2.5} for row in multi.per_class])
    text = shown(tables.evaluation_tables(told))
    assert "The 10 worst of" in text
    assert all(word in text for word in ("trained on", "weight", "1,234", "2.50"))
    assert "trained on" not in shown(tables.evaluation_tables(multi))
    page = report.write_report(tmp_path / "report.html", Content("t", evaluation=finite(told.to_dict())))
    assert "The 300 worst of 400 labels by AP" in page.read_text(encoding="utf-8")
    assert "1,234" in page.read_text(encoding="utf-8")
