"""docs/the-loss.md holds what its script makes of the stored answers, and the script computes what the page says."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from support import ROOT


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_loss_figures", ROOT / "scripts" / "make_loss_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(script):
    return json.loads(script.DATA.read_text(encoding="utf-8"))


def test_the_page_is_what_the_script_writes(script, data):
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.page(text, data) == text


def test_a_page_without_its_markers_is_refused(script, data):
    with pytest.raises(ValueError, match="markers"):
        script.page("# The loss\n", data)


def test_a_stale_page_is_noticed_and_written_anew_with_its_pictures(script, tmp_path, monkeypatch, capsys):
    page = shutil.copy(script.PAGE, tmp_path / "the-loss.md")
    page.write_text(page.read_text(encoding="utf-8").replace("| sum |", "| product |", 1), encoding="utf-8")
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr(script, "IMAGES", tmp_path)
    assert script.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    assert (tmp_path / "loss_gradients.png").stat().st_size > 10_000
    assert (tmp_path / "loss_images.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("cross_entropy", lambda p: 1 - p),  # minus (probability minus target)
        ("mse", lambda p: 2 * (1 - p) * p * (1 - p)),
        ("mae", lambda p: p * (1 - p)),
    ],
)
def test_the_gradients_are_those_of_the_formulas(script, loss, formula):
    margins = np.linspace(-7, 7, 29)
    p = 1 / (1 + np.exp(-margins))
    # The losses compute in float32.
    assert script.gradients(loss, margins) == pytest.approx(formula(p), abs=1e-6)


def test_images_are_chosen_from_sure_to_worst(script):
    margins = [*(m / 2 for m in range(1, 41)), -4]
    logits, targets = np.array([[float(m), 0.0] for m in margins]), np.zeros(41, int)
    losses = script.cross_entropies(logits, targets)
    assert losses == pytest.approx(np.log1p(np.exp([-float(m) for m in margins])))
    assert [margins[i] for i in script.chosen(logits, targets, losses)] == [20, 1, 0.5, -4]


def test_the_story_of_the_page_is_that_of_the_runs(script, data):
    """What the prose says of the runs; new runs that say otherwise need new prose."""
    from imgclf.results.metrics import wilson

    runs, text = data["runs"], " ".join(script.PAGE.read_text(encoding="utf-8").split())
    wrong = [runs[loss]["wrong"] for loss in script.LOSSES]
    assert "down to {} mistakes, squared error to {}, absolute error to {};".format(*wrong) in text
    shares = [(100 * wilson(n, data["n"]).low, 100 * wilson(n, data["n"]).high) for n in wrong]
    said = "{:.1f} to {:.1f} % against {:.1f} to {:.1f} and {:.1f} to {:.1f} %"
    assert said.format(*(share for pair in shares for share in pair)) in text
    assert all(1.5 < runs[loss]["errors"][3] / runs["cross_entropy"]["errors"][3] < 2.5 for loss in ("mse", "mae"))
    worst = data["images"][-1]
    logits, target = np.array([worst["logits"]]), np.array([data["classes"].index(worst["class"])])
    assert script.cross_entropies(logits, target)[0] > data["mean_loss"] * data["n"] / 3
    assert runs["cross_entropy"]["cross_entropy"] == data["mean_loss"]
    assert {len(run["errors"]) for run in runs.values()} == {8}
