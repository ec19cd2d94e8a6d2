"""`imgclf bench` through the command line: figures that fit together, nothing written, mistakes told."""

import json

import pytest
import shapes
from support import run_here

SMALL = [
    *("-a", "resnet18", "--size", "32", "--presize", "40", "-b", "8", "--device", "cpu", "--steps", "2"),
    *("--set", "model.pretrained=false", "--set", "model.cut=-3", "--set", "data.workers=0"),
]  # fmt: skip


@pytest.fixture
def images(tmp_path):
    return shapes.write(tmp_path / "images", per_class=6)


def test_figures_fit_together_and_nothing_is_written(images, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = run_here("bench", "-d", images, *SMALL, "--json", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = done.json
    rates, ms = found["images_per_second"], found["ms_per_image"]
    assert all(value > 0 for value in rates.values())
    assert all(value >= 0 for value in ms.values())
    step = sum(ms[name] for name in ("transfer", "prepare", "forward", "backward", "optimizer", "rest"))
    assert rates["step"] == pytest.approx(1000 / step, rel=0.2)
    assert rates["both"] < min(rates["pipeline"], rates["step"]) * 3
    assert 0 <= found["waiting"] <= 1
    assert (found["steps"], found["batch_size"], found["workers"], found["phase"]) == (2, 8, 0, "one_cycle")
    assert found["verdict"]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_people_see(images, tmp_path):
    done = run_here("bench", "-d", images, *SMALL, "--set", "data.cache=ram", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("Milliseconds an image", "read and decode", "backward", "training step alone", "The loader feeds"):
        assert text in done.stdout
    assert "measuring: the loader" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (["-d", "nowhere"], 3, "no such file or folder"),
        (["--steps", "0"], 2, "--steps"),
        (["--set", "data.cash=ram"], 2, "data.cache"),
    ],
    ids=str,
)
def test_mistakes(images, tmp_path, wrong, code, said):
    done = run_here("bench", "-d", images, *SMALL, *wrong, "--json", cwd=tmp_path)
    assert done.returncode == code
    error = json.loads(done.stdout)["error"]
    assert said in f"{error['message']} {error['hint']}"
