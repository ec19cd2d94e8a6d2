"""A run with a cache of decoded images is the run without one, bit for bit; and what cannot be kept is told."""

import json
from pathlib import Path

import pytest
import shapes
from support import run_here, same

SMALL = [
    *("-a", "resnet18", "--size", "16", "--presize", "20", "-b", "6", "--device", "cpu", "--lr", "0.003", "-e", "2"),
    *("--set", "model.pretrained=false", "--set", "model.cut=-4", "--set", "train.precision=fp32"),
    *("--set", "data.workers=0", "--freeze-epochs", "0"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("cached") / "images", per_class=6)


def test_weights_history_and_figures_are_those_without_a_cache(images, tmp_path, monkeypatch):
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "cache"))
    runs = tmp_path / "runs"
    (tmp_path / "file").write_text("")
    said = {
        "none": "images",
        "disk": "0 of 18 are there (data.cache: disk)",
        "disk-again": "18 of 18 are there",
        "disk-closed": "warning: data.cache:",
    }
    for name, text in said.items():
        if name == "disk-closed":
            monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "file" / "below"))
        setting = f"data.cache={name.split('-')[0]}"
        done = run_here("train", "-d", images, *SMALL, "--set", setting, "--name", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert text in done.stderr
        same(runs / name, runs / "none")


@pytest.mark.parametrize("wrong", ["cache=memory", "cache_gb=0", "cache_gb=much"])
def test_what_a_cache_cannot_be_is_refused(images, tmp_path, wrong):
    done = run_here("train", "-d", images, "--set", f"data.{wrong}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"data.{wrong.split('=')[0]}" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_goes_on_in_the_precision_it_began_in(images, tmp_path, monkeypatch):
    """Though this machine would decide otherwise now."""
    from imgclf.training import quicker

    bf16, fp32 = ("bf16", "measured here: faster"), ("fp32", "measured here: bf16 is slow")
    monkeypatch.setattr(quicker, "best", lambda device: bf16)
    arguments = [a for a in SMALL if a != "train.precision=fp32"]
    arguments.pop(arguments.index("model.cut=-4") + 1)  # its --set
    arguments[arguments.index("--size") + 1 : arguments.index("--presize") + 2] = ["32", "--presize", "40"]
    done = run_here("train", "-d", images, *arguments, "--name", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bf16 (measured here: faster)" in done.stderr
    recorded = json.loads((tmp_path / "runs" / "run" / "manifest.json").read_text())
    assert (recorded["precision"], recorded["precision_reason"]) == bf16
    monkeypatch.setattr(quicker, "best", lambda device: fp32)
    done = run_here("train", "--resume", "run", "--extend", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bf16 (as the run began)" in done.stderr
    recorded = json.loads((tmp_path / "runs" / "run" / "manifest.json").read_text())
    assert (recorded["precision"], recorded["precision_reason"]) == bf16
