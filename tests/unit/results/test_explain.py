"""From logits to a loss: the figures of torch, and what people are shown."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from torch.nn import functional as F

from imgclf.console import PIPE_WIDTH
from imgclf.results import explain_view
from imgclf.results.explain import explain

CLASSES = ("ant", "bee", "cat $x$")
LOGITS = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3)


def told(renderable) -> str:
    console = Console(width=PIPE_WIDTH, record=True, file=io.StringIO(), highlight=False)
    console.print(renderable)
    return console.export_text()


@settings(deadline=None)
@given(LOGITS, st.integers(0, 2), st.floats(0.5, 10))
def test_one_label_is_torchs_cross_entropy_and_its_gradient(values, label, temperature):
    logits = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(logits[None], torch.tensor([label]))
    loss.backward()
    found = explain("x.jpg", np.array(values, np.float32), CLASSES, temperature, (CLASSES[label],), "--label")
    rows = {row["class"]: row for row in found.rows}
    assert found.plain_loss == pytest.approx(loss.item(), abs=1e-4)
    after = F.cross_entropy(logits.detach()[None] / temperature, torch.tensor([label])).item()
    assert found.loss == pytest.approx(after, abs=1e-4)
    for i, name in enumerate(CLASSES):
        assert rows[name]["gradient"] == pytest.approx(logits.grad[i].item(), abs=1e-6)
        assert rows[name]["softmax"] == pytest.approx(np.exp(rows[name]["log_likelihood"]), abs=1e-6)
    assert sum(row["softmax"] for row in found.rows) == pytest.approx(1)
    assert sum(row["calibrated"] for row in found.rows) == pytest.approx(1, abs=1e-5)
    shares = np.array([row["exp"] for row in found.rows])
    np.testing.assert_allclose(shares / shares.sum(), [row["softmax"] for row in found.rows], atol=1e-6)
    assert [row["calibrated"] for row in found.rows] == sorted((r["calibrated"] for r in found.rows), reverse=True)
    assert found.preds == (found.rows[0]["class"],)
    assert found.right == (found.preds[0] == CLASSES[label])


@settings(deadline=None)
@given(LOGITS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_several_labels_are_torchs_binary_cross_entropy(values, there):
    logits = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    target = torch.tensor(there, dtype=torch.float64)
    loss = F.binary_cross_entropy_with_logits(logits, target)
    loss.backward()
    labels = tuple(name for name, on in zip(CLASSES, there, strict=True) if on)
    found = explain("x.jpg", np.array(values, np.float32), CLASSES, 1.0, labels, "--label", (0.5, 0.9, 0.1))
    rows = {row["class"]: row for row in found.rows}
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)
    assert np.mean([row["loss"] for row in found.rows]) == pytest.approx(loss.item(), abs=1e-5)
    for i, (name, cut) in enumerate(zip(CLASSES, (0.5, 0.9, 0.1), strict=True)):
        assert rows[name]["gradient"] == pytest.approx(logits.grad[i].item(), abs=1e-6)
        assert rows[name]["there"] is there[i]
        assert rows[name]["given"] is (rows[name]["calibrated"] >= cut)
    assert set(found.preds) == {name for name in CLASSES if rows[name]["given"]}


def test_without_a_label_there_is_no_loss():
    found = explain("x.jpg", np.array([1, 2, 0], np.float32), CLASSES, 2.0, None, None)
    row = found.to_dict()
    assert (row["label"], row["label_from"], row["loss"], row["uncalibrated"]["loss"]) == (None, None, None, None)
    assert {r["gradient"] for r in row["classes"]} == {None}
    text = told(explain_view.explanation_table(found))
    assert "x.jpg: label unknown; prediction bee" in text
    assert "loss:" not in text


def test_the_table_tells_the_chapter():
    found = explain("x.jpg", np.array([2, 1, -1], np.float32), CLASSES, 2.0, ("bee",), "--label")
    text = told(explain_view.explanation_table(found))
    assert "x.jpg: label bee (from --label); prediction ant 0.547, wrong" in text
    assert "loss: -log 0.2595 = 1.3490; 1.1041 after calibration (temperature 2)" in text
    assert "cat $x$" in text


def test_many_classes_are_cut_but_never_the_label():
    names = tuple(f"c{i}" for i in range(40))
    found = explain("x.jpg", np.arange(40, 0, -1).astype(np.float32), names, 1.0, ("c39",), "--label")
    assert [row["class"] for row in explain_view.shown(found)] == ["c0", "c1", "c2", "c3", "c4", "c39"]
    assert "and 34 classes with lower logits" in told(explain_view.explanation_table(found))
    assert len(found.to_dict()["classes"]) == 40


def test_the_picture_has_a_panel_for_each_map(tmp_path):
    from dataclasses import replace

    found = explain("x.jpg", np.array([2, 1, -1], np.float32), CLASSES, 2.0, ("cat $x$",), "--label")
    image = np.zeros((32, 32, 3), np.uint8)
    widths = []
    for maps in (("ant",), ("ant", "cat $x$")):
        made = replace(found, heatmaps=maps)
        path = explain_view.picture(made, image, np.zeros((len(maps), 32, 32), np.float32), tmp_path / "p.png")
        with Image.open(path) as made_picture:
            widths.append(made_picture.width)
    assert widths[1] > widths[0]
