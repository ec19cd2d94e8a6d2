"""`imgclf report`: a run's page again, from its folder alone."""

import errno
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import judged
import pytest
from support import run_here

from imgclf import runs
from imgclf.config import Override, dump, load


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

    def decode(path, at_least=None, grey_range=None):
        assert at_least is not None, f"{path} in full"
        read.append(path)
        return really(path, at_least, grey_range)

    read: list[Path] = []
    really = images.decode
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


def test_what_is_wrong_with_the_data_is_said_at_the_top(here, tmp_path):
    shutil.copytree(here / "runs", tmp_path / "runs")
    run = runs.Run(tmp_path / "runs" / "mine")
    found = {"bad": 0, "leaks": 2, "conflicts": 0, "examples": {"leaks": [["valid/a.png", "train/b.png"]]}}
    run.update_manifest(status="interrupted", checks=found)
    assert run_here("report", "mine", cwd=tmp_path).returncode == 0
    text = page(run.path)
    top = text[: text.index("The run</h2>")]
    assert "images that are in training too, or nearly: 2." in top
    assert "The run was interrupted" in top
    assert "with different labels" not in top
    assert "valid/a.png · train/b.png" in text


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


@pytest.mark.parametrize("command", [("report",), ("report", "--review"), ("explain", "--top-losses", "1")])
def test_a_folder_that_cannot_be_written_to_is_told(here, tmp_path, monkeypatch, command):
    shutil.copytree(here / "runs", tmp_path / "runs")

    def refuse(dir, **_):  # noqa: A002 - as tempfile calls it
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/.new")

    monkeypatch.setattr(runs.tempfile, "mkstemp", refuse)
    done = run_here(command[0], "mine", *command[1:], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert "the disk cannot be written to" in done.stderr and "Permission denied" in done.stderr


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_figures_that_cannot_be_read(here, tmp_path, text):
    shutil.copytree(here / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "mine" / "eval" / "report.json").write_text(text)
    done = run_here("report", "mine", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert "runs/mine/eval/report.json cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mien"], 4, "Did you mean 'mine'"),
        (["mine", "--limt", "3"], 2, "No such option"),
        (["mine", "--limit", "3"], 2, "ask for it: --review"),
        (["mine", "--review", "--limit", "0"], 2, "--limit"),
        ([], 4, "no finished run"),
    ],
)
def test_what_cannot_be_reported(here, tmp_path, arguments, code, said):
    where = here if arguments else tmp_path
    done = run_here("report", *arguments, cwd=where)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def planted(run: Path) -> str:
    """Give one validation image of the run another label; returns its path."""
    lines = run.joinpath("split.csv").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("valid/red/red 3.png,"))
    lines[at] = lines[at].replace(",red,valid", ",blue,valid")
    run.joinpath("split.csv").write_text("\n".join(lines) + "\n")
    return "valid/red/red 3.png"


def reconfigure(run: Path, **settings: object) -> None:
    """Change keys of a run's configuration."""
    file = run / "config.yaml"
    overrides = [Override(key, value, "test") for key, value in settings.items()]
    file.write_text(dump(load(str(file), overrides).config))


@pytest.fixture(scope="module")
def pretrained(here, tmp_path_factory) -> Path:
    """The same run, of a body whose weights are in a file: random ones, which tell colours well enough."""
    import torch
    from torchvision.models import resnet18

    folder = tmp_path_factory.mktemp("review")
    shutil.copytree(here / "runs", folder / "runs")
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), folder / "random.pth")
    reconfigure(folder / "runs" / "mine", **{"model.arch": "resnet18", "model.weights": str(folder / "random.pth")})
    return folder


def test_a_label_that_is_wrong_comes_first(pretrained):
    wrong = planted(pretrained / "runs" / "mine")
    done = run_here("report", "mine", "--review", "--limit", 25, "--json", cwd=pretrained)
    assert done.returncode == 0, done.stderr
    found = done.json["review"]
    assert (found["images"], found["ranked_by"], len(found["suspects"])) == (60, "held_out", 25)
    first = found["suspects"][0]
    assert (first["path"], first["labels"], first["likely"], first["split"]) == (wrong, ["blue"], ["red"], "valid")
    scores = [suspect["score"] for suspect in found["suspects"]]
    assert scores == sorted(scores)
    text = Path(pretrained, found["page"]).read_text(encoding="utf-8")
    assert text.count('<li tabindex="0">') == 25
    assert "cross-validation in five parts" in text
    assert "The 25 of 60 training and validation images" in text


def test_where_nothing_is_pretrained_the_runs_own_model_judges(here, tmp_path):
    shutil.copytree(here / "runs", tmp_path / "runs")
    run = tmp_path / "runs" / "mine"
    reconfigure(run, **{"model.pretrained": False})
    wrong = planted(run)
    done = run_here("report", "mine", "--review", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = done.json["review"]
    assert (found["ranked_by"], len(found["suspects"])) == ("loss", 60)
    assert wrong in [suspect["path"] for suspect in found["suspects"][:6]]
    assert "learned their errors by heart" in (run / "review.html").read_text(encoding="utf-8")


def test_corrections_in_use_are_part_of_the_next_ones(pretrained):
    from imgclf.workflow.review import earlier

    file = pretrained / "fixed.csv"
    file.write_text("path,action,label\na.png,drop,\nb.png,relabel,red\n")
    cfg = load(None, [Override("data.corrections", str(file), "test")]).config
    assert earlier(cfg) == [("a.png", "drop", ""), ("b.png", "relabel", "red")]
    assert earlier(load(None, []).config) == []


def test_a_review_needs_a_model_and_images(pretrained, tmp_path):
    shutil.copytree(pretrained / "runs", tmp_path / "runs")
    run = runs.Run(tmp_path / "runs" / "mine")
    run.update_manifest(data_root=str(tmp_path / "nowhere"))
    done = run_here("report", "mine", "--review", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "are no longer in" in done.stderr
    run.file(runs.WEIGHTS).unlink()
    done = run_here("report", "mine", "--review", "--quiet", cwd=tmp_path)
    assert (done.returncode, "has no model yet" in done.stderr) == (4, True)


class Harm(HTMLParser):
    """What a page would run or fetch, in tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        harmful = tag in ("a", "b", "iframe", "link") or (tag == "script" and ("id", "data") not in attrs)
        self.found += [tag] * harmful
        for name, value in attrs:
            if name.startswith("on") or (name in ("src", "href") and not value.startswith("data:image/")):
                self.found.append(f"{tag} {name}={value}")


def test_classes_and_files_cannot_put_anything_into_a_page(tmp_path, monkeypatch):
    names = ('<img src=x onerror="alert(1)">', "قطة & <b>cat", "<script>alert(2)")
    monkeypatch.setattr(judged, "COLOURS", dict(zip(names, judged.COLOURS.values(), strict=True)))
    photos = judged.photos(tmp_path / "<i>photos", 6, ("train", "valid"))
    run = judged.run_of(photos, tmp_path / "runs")
    reconfigure(run, **{"model.pretrained": False})
    done = run_here("report", "mine", "--review", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Harm(page(run)).found == []
    review = (run / "review.html").read_text(encoding="utf-8")
    assert Harm(review).found == ["script"], "its own, allowed by its hash"
    assert {tuple(one["labels"]) for one in done.json["review"]["suspects"]} == {(name,) for name in names}
    for text in (page(run), review):
        assert "قطة &amp; &lt;b&gt;cat" in text
