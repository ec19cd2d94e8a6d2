"""`imgclf report`: a run's page again, from its folder alone."""

import json
import re
import shutil
from pathlib import Path

import judged
import pytest
from support import run_here

from imgclf import runs


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A working folder with ``photos/`` and the run ``mine``."""
    folder = tmp_path_factory.mktemp("report")
    judged.run_of(judged.photos(folder / "photos", 10), folder / "runs")
    return folder


def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_is_written_from_the_folder(here):
    done = run_here("report", "mine", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    run = here / "runs" / "mine"
    assert done.json == {
        "run_dir": "runs/mine", "report": "runs/mine/report.html", "bytes": (run / "report.html").stat().st_size,
    }  # fmt: skip
    report = json.loads((run / "eval" / "report.json").read_text())
    text = page(run)
    for said in (
        f"{report['accuracy']['value']:.3f}", "mine: 3 classes of photos", "30 for training, 30 for validation, 30 for",
        "resnet18", "32 px, crop, RGB", "brightness", "Grad-CAM", "Calibration", "imgclf train -c ",
    ):  # fmt: skip
        assert said in text, said
    assert "not finished" not in text
    assert len(re.findall("data:image/jpeg", text)) >= 2 * min(12, len(report["top_losses"]))
    quiet = run_here("report", "mine", "--quiet", cwd=here)
    assert (quiet.stdout, quiet.stderr) == ("runs/mine/report.html\n", "")


def test_nothing_is_decoded_in_full_and_nothing_is_written_among_the_images(here, monkeypatch):
    from imgclf.data import images, inspection
    from imgclf.results import thumbnails

    def decode(path, at_least=None):
        assert at_least is not None, f"{path} in full"
        read.append(path)
        return images._decode(path, at_least)

    read: list[Path] = []
    for module in (images, inspection, thumbnails):
        monkeypatch.setattr(module, "decode", decode)
    before = sorted(p for p in (here / "photos").rglob("*"))
    run_here("report", "mine", cwd=here)
    assert 0 < len(read) <= 12 + 8 * 6, "the checks are known; only what is shown is read"
    assert sorted(p for p in (here / "photos").rglob("*")) == before


def test_images_that_moved_are_told_and_left_out(here, tmp_path):
    shutil.copytree(here / "runs", tmp_path / "runs")
    run = runs.Run(tmp_path / "runs" / "mine")
    run.update_manifest(data_root=str(tmp_path / "nowhere"))
    done = run_here("report", "mine", cwd=tmp_path)
    assert done.returncode == 0
    assert "the images of mine are no longer in" in done.stderr
    assert "Grad-CAM" not in page(run.path)
    assert "Top losses" in page(run.path)


def test_a_run_that_never_got_far(here, tmp_path):
    """Killed before its first epoch: what there is, and what is not."""
    run = runs.create(tmp_path / "runs", "early", "version: 1\n", {"command": "imgclf train", "pid": 1})
    done = run_here("report", "early", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = page(run.path)
    assert "The run is not finished" in text
    assert "accuracy" not in text


def test_the_configuration_is_compared_with_the_run_before(here, tmp_path):
    shutil.copytree(here / "runs", tmp_path / "runs")
    first = runs.Run(tmp_path / "runs" / "mine")
    shutil.copytree(first.path, tmp_path / "runs" / "second")
    second = runs.Run(tmp_path / "runs" / "second")
    second.update_manifest(started="2999-01-01T00:00:00.000+00:00")
    config = second.file(runs.CONFIG)
    config.write_text(config.read_text().replace("seed: 42", "seed: 7"))
    assert run_here("report", "second", cwd=tmp_path).returncode == 0
    text = page(second.path)
    assert "Changed since mine" in text
    assert re.search("seed.*42.*7", text)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["mien"], 4, "Did you mean 'mine'"), (["mine", "--limt", "3"], 2, "No such option"), ([], 4, "no finished run")],
)
def test_what_cannot_be_reported(here, tmp_path, arguments, code, said):
    where = here if arguments else tmp_path
    done = run_here("report", *arguments, cwd=where)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
