import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclf.results import plots
from imgclf.results.grid import grid_plot
from imgclf.results.lettering import fitting, legend, plain

NAN = float("nan")


def inches(path: Path) -> tuple[float, float]:
    """Width and height of a PNG that Pillow can read and that is not blank."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.convert("L").getextrema()[0] < 200
        return image.width / plots.DPI, image.height / plots.DPI


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_lr_find(tmp_path):
    lrs = np.logspace(-7, 1, 50)
    losses = [NAN, *np.linspace(3, 1, 44), 2.0, 9.0, 400.0, float("inf"), NAN]
    suggestions = {"valley": 1e-3, "slide": 2e-2, "minimum": 1e-2, "steep": 9.9, "own $x$ idea": 1e-5}
    plots.lr_find_plot(lrs, losses, suggestions, 1e-3, tmp_path / "lr.png")
    assert max(inches(tmp_path / "lr.png")) <= 8


def test_lr_find_without_a_curve(tmp_path):
    plots.lr_find_plot([1e-3, 1e-2], [NAN, NAN], {}, None, tmp_path / "lr.png")
    plots.lr_find_plot([], [], {"valley": 1e-3}, None, tmp_path / "none.png")
    assert inches(tmp_path / "lr.png") == inches(tmp_path / "none.png")


def row(phase, epoch, **values):
    fixed = {"epochs": 3, "train_loss": 1.0, "valid_loss": 0.5, "lr": 2e-3, "seconds": 3, "best": True}
    return {"phase": phase, "epoch": epoch, **fixed, **values}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("frozen", 0)],
        [row("frozen", 0, error_rate=0.3), row("unfrozen", 0, error_rate=NAN), row("unfrozen", 1, error_rate=0.1)],
        [row("frozen", "0", error_rate="0.3", _f1="x"), row("unfrozen", "0", error_rate="", _f1=None)],
    ],
)
def test_history(tmp_path, rows):
    plots.history_plot(rows, tmp_path / "history.png")
    width, height = inches(tmp_path / "history.png")
    assert (height > 5) == any("error_rate" in r for r in rows), "a second panel for the metrics"
    assert width <= 8


def test_a_metric_named_with_an_underscore_is_in_the_legend(tmp_path):
    # Matplotlib leaves labels that begin with one out.
    for name in ("_f1", "f1"):
        plots.history_plot([row("frozen", 0, **{name: 0.3})], tmp_path / f"{name}.png")
    assert (tmp_path / "_f1.png").read_bytes() == (tmp_path / "f1.png").read_bytes()


def test_what_differs_by_rounding_is_drawn_as_the_same(tmp_path):
    for name, other in (("same", 0.10457516), ("rounded", 0.10457517)):
        rows = [row("probe", 0, error_rate=0.10457516), row("unfrozen", 0, error_rate=other)]
        plots.history_plot(rows, tmp_path / f"{name}.png")
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "rounded.png").read_bytes()


@pytest.mark.parametrize("c", [1, 2, 20, 21, 100])
def test_confusion(tmp_path, c):
    counts = np.eye(c, dtype=int) * 5
    counts[0, -1] = 2
    counts[-1] = 0  # a class without images
    counts[0, 0] = 5
    plots.confusion_plot(counts.tolist(), [f"class {i}" for i in range(c)], tmp_path / "c.png")
    assert max(inches(tmp_path / "c.png")) <= 14


def test_names_can_hold_anything(tmp_path):
    names = ["$\\frac{1$", "漢字", "قطة 🐈", "_private", "line\nbreak\x00", "", "bad \udcff byte", "x" * 400]
    plots.confusion_plot(np.eye(8, dtype=int).tolist(), names, tmp_path / "c.png")
    assert max(inches(tmp_path / "c.png")) <= 9, "a long name is shortened"


def test_names_are_drawn_as_they_are(tmp_path):
    assert (plain("_background_"), legend("_f1"), plain("a$b\n")) == ("_background_", "f1", r"a\$b�")
    names = ("猫 中文", "_a", "$x$ & $y", "line\nbreak", "", "a name far too long for the place above a picture")
    images = [np.full((8, 8, 3), 40 * i, np.uint8) for i in range(len(names))]
    grid_plot(images, names, tmp_path / "grid.png", columns=4)
    inches(tmp_path / "grid.png")


def test_reliability(tmp_path):
    rows = [{"low": 0.5, "high": 0.6, "n": 3, "confidence": 0.55, "accuracy": 0.4}]
    plots.reliability_plot(rows, rows, tmp_path / "both.png")
    plots.reliability_plot(None, rows, tmp_path / "after.png")
    plots.reliability_plot(None, [], tmp_path / "none.png")
    assert inches(tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes() != (tmp_path / "after.png").read_bytes()


def test_top_losses(tmp_path):
    Image.new("RGB", (900, 40), "red").save(tmp_path / "wide.jpg")
    Image.new("L", (5, 5)).save(tmp_path / "tiny.png")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    names = ["wide.jpg", "tiny.png", "bad.jpg", "missing.jpg", *["tiny.png"] * 20]
    rows = [{"path": name, "label": "a$b$", "pred": "漢", "prob": 0.5, "loss": 3.0} for name in names]
    plots.top_losses_plot(rows, tmp_path, tmp_path / "top.png")
    plots.top_losses_plot(rows[:1], tmp_path, tmp_path / "one.png")
    plots.top_losses_plot([], tmp_path, tmp_path / "none.png")
    assert max(inches(tmp_path / "top.png")) <= 12
    with Image.open(tmp_path / "top.png") as image:
        assert (np.asarray(image.convert("RGB")) == (254, 0, 0)).all(2).any(), "the red thumbnail is there"


def label_row(name, n, ap):
    return {"class": name, "n": n, "ap": ap, "f1": (ap or 0) / 2}


def test_labels(tmp_path):
    rows = [label_row(f"_label $x$ {i}", i, i / 50 if i else None) for i in range(50)]
    plots.per_label_plot(rows, tmp_path / "many.png")
    plots.per_label_plot(rows[1:41], tmp_path / "worst.png")
    plots.per_label_plot(rows[:3], tmp_path / "few.png")
    plots.per_label_plot(rows[:1], tmp_path / "none.png")
    assert inches(tmp_path / "many.png")[1] <= 14
    assert inches(tmp_path / "few.png")[1] < 4
    assert inches(tmp_path / "none.png")
    # Forty of the 49 that any image has, the worst: all but the title is the same picture.
    with Image.open(tmp_path / "many.png") as many, Image.open(tmp_path / "worst.png") as worst:
        assert many.size == worst.size
        assert (np.asarray(many)[60:] == np.asarray(worst)[60:]).all()


def test_top_losses_of_several_labels(tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    names = [f"label {i}" for i in range(12)]
    row = {"path": "a.png", "label": ", ".join(names), "labels": names, "pred": "", "preds": [], "prob": 0.5, "loss": 1}
    plots.top_losses_plot([row] * 5, tmp_path, tmp_path / "sets.png")
    plots.top_losses_plot([{**row, "labels": []}] * 5, tmp_path, tmp_path / "other.png")
    assert max(inches(tmp_path / "sets.png")) <= 12
    assert (tmp_path / "sets.png").read_bytes() != (tmp_path / "other.png").read_bytes()


@pytest.mark.parametrize(
    ("names", "others", "shown"),
    [
        ([], ["cat"], "(no label)"),
        (["cat"], ["cat"], "cat"),
        (["car", "cat", "dog"], ["car"], "cat, dog, car"),
        (["a" * 40, "b"], [], f"{'a' * 9}…{'a' * 8}, b"),
        ([f"label {i}" for i in range(12)], [], "label 0, label 1, label 2 +9"),
    ],
)
def test_a_set_of_labels_in_a_line(names, others, shown):
    assert fitting(names, others) == shown


def test_neither_import_nor_use_brings_pyplot(tmp_path):
    code = f"""
import sys
from pathlib import Path
from imgclf.results import plots
assert "matplotlib" not in sys.modules
plots.reliability_plot(None, [], Path({str(tmp_path / "x.png")!r}))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
