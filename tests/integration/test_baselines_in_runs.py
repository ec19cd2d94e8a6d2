"""What a run has to beat, in what a run leaves: with features at hand, with a pass of their own, and without."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import shapes
from PIL import Image
from support import run_here

from imgclf.console import Terminal
from imgclf.data.samples import Sample
from imgclf.workflow import baselines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("baselines"), per_class=30)


def train(folder, name, *more):
    done = run_here("train", *shapes.pretrained(folder), "--name", name, *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done, folder / "runs" / name, json.loads((folder / "runs" / name / "eval" / "report.json").read_text())


@pytest.fixture(scope="module")
def at_hand(folder):
    """A run of the probe alone, whose features nobody may compute again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_computed", lambda *a: pytest.fail("a pass of its own"))
        return train(folder, "hand", "-e", "0")


def test_the_report_has_what_is_to_beat(at_hand):
    done, run, report = at_hand
    probe = report["baselines"]["probe"]
    assert (probe["n_train"], probe["features"]) == (72, 128)
    assert report["baselines"]["majority"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert probe["logistic_regression"]["accuracy"]["n"] == probe["paired"]["n"] == report["n"] == 18
    assert "of which only the head was trained" in probe["paired"]["sentence"]
    assert [p["images"] for p in report["learning_curve"]["points"]] == [6, 18, 36, 54, 72]
    assert report["learning_curve"]["advice"] in done.stdout
    assert probe["paired"]["sentence"] in done.stdout
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "What it has to beat" in page
    assert "Would more images help?" in page
    assert "<figcaption>How the error falls with the number of training images</figcaption>" in page
    assert (run / "plots" / "learning_curve.png").is_file()
    assert "frozen features" in (run / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_bursts_are_warned_of_unless_the_split_heeds_them(folder, tmp_path):
    """Thirty-two things of two classes that chance has mixed, eight pictures of each, named one after the other."""
    rng = np.random.default_rng(0)
    for i in range(32):
        thing = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
        for shot in range(8):
            file = tmp_path / "images" / "ab"[i % 2] / f"{i:02d}_{shot}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            thing.crop((shot, shot % 3, 38 + shot, 38 + shot % 3)).save(file)
    shutil.copy(folder / "weights.pth", tmp_path)
    said = "Images that follow each other by name show the same things"
    done, run, report = train(tmp_path, "dealt", "-e", "0")
    found = report["baselines"]["neighbours"]
    assert found["same_things"] and found["error_with"] < 0.1 < 0.2 < found["error_without"]
    assert report["warnings"][0] == found["sentence"] and found["sentence"].startswith(said)
    assert found["sentence"] in done.stdout
    assert f"<li>{found['sentence']}" in (run / "report.html").read_text(encoding="utf-8")
    _, _, report = train(tmp_path, "grouped", "-e", "0", "--set", r"data.group_by=(\d+)_\d\.png$")
    assert "neighbours" not in report["baselines"] and said not in " ".join(report["warnings"])


def test_evaluate_tells_it_of_the_images_it_was_measured_on(at_hand, folder):
    _, _, report = at_hand
    found = run_here("evaluate", "hand", "--json", cwd=folder).json
    assert (found["baselines"], found["learning_curve"]) == (report["baselines"], report["learning_curve"])
    assert "baselines" not in run_here("evaluate", "hand", "--data", "images", "--json", cwd=folder).json
    assert "baseline: logistic regression" in run_here("evaluate", "hand", cwd=folder).stdout


def test_without_a_probe_phase_a_pass_gives_the_same_features(at_hand, folder):
    """The book's recipe has none; the features it computes at the end are those the other run had at hand."""
    _, _, report = at_hand
    _, _, other = train(folder, "book", "-e", "0", "--set", "train.recipe=book", "--lr", "1e-3")
    probes = [r["baselines"]["probe"] for r in (report, other)]
    assert probes[0]["logistic_regression"] == probes[1]["logistic_regression"]
    assert probes[0]["knn"] == probes[1]["knn"]
    assert report["learning_curve"] == other["learning_curve"]
    assert probes[1]["paired"]["n"] == 18


@pytest.mark.parametrize(
    ("pretrained", "wanted", "why"),
    [
        (False, True, "random weights: there is no pretrained body to compare with"),
        (True, False, "switched off (train.baselines: false)"),
        (True, True, None),
    ],
)
def test_why_there_is_no_probe(make_config, pretrained, wanted, why):
    assert baselines._reason(make_config(**{"train.baselines": wanted}), pretrained) == why


def test_an_interrupted_run_does_not_make_people_wait(make_config, monkeypatch):
    """After Ctrl-C only what is at hand is used."""
    monkeypatch.setattr(baselines, "_computed", lambda *a: pytest.fail("a pass of its own"))
    session = SimpleNamespace(
        cfg=make_config(), weights=SimpleNamespace(pretrained=True), learn=SimpleNamespace(probe=None),
        data=SimpleNamespace(dataset=SimpleNamespace(train=[Sample("a.png", ("cat",))])),
    )  # fmt: skip
    model = SimpleNamespace(task="single", classes=("cat", "dog"))
    answers = SimpleNamespace(targets=np.array([0, 1]))
    found = baselines.judge(session, model, answers, SimpleNamespace(interrupted=True), Terminal(quiet=True))
    assert found["baselines"]["why"] == found["learning_curve"]["why"] == "the run was interrupted"
    assert found["baselines"]["majority"]["accuracy"]["value"] == 0.5
