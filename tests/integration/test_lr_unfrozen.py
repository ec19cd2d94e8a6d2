"""The rates of a run: given ones stand, found ones say why; a second sweep once unfrozen, exact through a resume."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import shapes
import torch
from safetensors.torch import load_file
from support import run_here

from imgclf.cli.options import KEYS, Settings
from imgclf.config import load, parse_set
from imgclf.console import Terminal
from imgclf.training import lr
from imgclf.training.watch import Watch
from imgclf.workflow import rates, session

SMALL = [
    *("-a", "resnet18", "-e", "1", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "9"),
    *("--set", "model.pretrained=false", "--set", "train.precision=fp32", "--set", "data.workers=0", "--device", "cpu"),
    *("--set", "model.cut=-3"),  # as many layer groups as the whole network, a quarter of the weights
]  # fmt: skip
AUTO = ["--lr", "0.003", "--set", "train.lr_unfrozen=auto"]


@pytest.fixture(scope="module", autouse=True)
def _short_sweep(quick):
    """A short sweep: both finders here take the same steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lr, "STEPS", 16), patch.setattr(lr, "RANGE", (1e-5, 1.0))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("rates") / "images", per_class=12)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("whole")
    done = run_here("train", "-d", images, *SMALL, *AUTO, "--name", "run", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "to be found" in done.stderr
    return work / "runs" / "run"


def same(run: Path, other: Path) -> None:
    """Assert that two runs ended with the same bits."""
    for name in ("model.safetensors", "last.ckpt"):
        a, b = load_file(run / name), load_file(other / name)
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert history(run) == history(other)


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_the_run_says_what_was_chosen_and_why(whole):
    kept = json.loads((whole / "manifest.json").read_text())["learning_rates"]
    assert kept["lr"] == {"value": 0.003, "reason": "as given"}
    second, data = kept["lr_unfrozen"], json.loads((whole / "lr_find_unfrozen.json").read_text())
    assert set(second["suggestions"]) == {"valley", "slide", "minimum", "steep"}
    assert (second["value"], second["reason"]) == (data["chosen"], data["reason"])
    assert (whole / "lr_find_unfrozen.png").read_bytes().startswith(b"\x89PNG")
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert "learning rate, unfrozen" in page and data["reason"].split(":")[0] in page
    assert not (whole / "lr_find.json").exists()


def test_the_last_layers_got_the_rate_that_was_found(whole):
    from imgclf.training import checkpoint

    found = json.loads((whole / "lr_find_unfrozen.json").read_text())["chosen"]
    frozen, unfrozen = checkpoint.load(whole / "last.ckpt", torch.device("cpu")).phases
    assert frozen.lrs[-1] == 0.003
    assert (unfrozen.lrs[0], unfrozen.lrs[-1]) == pytest.approx((found / 100, found))


def stopped(work, images, monkeypatch, where: str) -> Path:
    """A run asked to stop: in the frozen phase, in the second sweep, or in the unfrozen phase."""
    place = (Watch, "after_batch") if where != "sweep" else (lr.Sweep, "after_batch")
    original, name = getattr(*place), "frozen" if where == "frozen" else "unfrozen"
    watches = []
    start = Watch.__init__

    def remember(self, *args, **more):
        start(self, *args, **more)
        watches.append(self)

    def stop(self):
        if where == "sweep":
            watches[0].request.asked = True
        original(self)
        if where != "sweep" and self.training and self.phase.name == name:
            self.request.asked = True

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "__init__", remember)
        patch.setattr(*place, stop)
        done = run_here("train", "-d", images, *SMALL, *AUTO, "--name", "run", cwd=work)
    assert (done.returncode, "--resume" in done.stderr) == (130, True), done.stderr
    return work / "runs" / "run"


@pytest.mark.parametrize(
    "where", [pytest.param("sweep", marks=pytest.mark.slow), "unfrozen", pytest.param("frozen", marks=pytest.mark.slow)]
)
def test_stopped_and_resumed_it_ends_with_the_same_bits(where, images, whole, tmp_path, monkeypatch):
    run = stopped(tmp_path, images, monkeypatch, where)
    if where == "unfrozen":  # the rate is in the checkpoint
        monkeypatch.setattr(lr, "find", None)
    done = run_here("train", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same(run, whole)


def test_lrfind_unfrozen_finds_what_the_run_found(images, whole, tmp_path):
    done = run_here("lrfind", "-d", images, *SMALL, *AUTO, "--unfrozen", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((whole / "lr_find_unfrozen.json").read_text())
    assert {k: done.json[k] for k in data} == data
    assert "--set train.lr_unfrozen=" in done.stderr


def test_lrfind_unfrozen_needs_the_two_phases(images, tmp_path):
    done = run_here("lrfind", "-d", images, *SMALL, "--lr", 0.01, "--epochs", 0, "--unfrozen", cwd=tmp_path)
    assert (done.returncode, "--unfrozen" in done.stderr) == (2, True)


@pytest.mark.parametrize("way", ["flag", "yaml", "set"])
def test_a_given_rate_is_never_overridden(way, images, tmp_path, monkeypatch):
    """The finder is not even asked."""
    file = tmp_path / "c.yaml"
    given = "  lr: 4e-3\n  lr_unfrozen: 3e-4\n" if way == "yaml" else ""
    file.write_text(
        f"data: {{path: '{images}'}}\naugment: {{presize: 40, size: 32}}\ntrain:\n  freeze_epochs: 1\n{given}"
    )
    sets = ["train.lr_unfrozen=3e-4"] if way == "flag" else [f"train.{k}" for k in ("lr=4e-3", "lr_unfrozen=3e-4")]
    flags = dict.fromkeys(KEYS) | {"lr": "4e-3" if way == "flag" else None, "batch_size": 9}
    assignments = [*(text for text in SMALL if "=" in text), *(sets if way != "yaml" else ())]
    cfg = Settings(str(file), flags, assignments, Terminal(quiet=True)).load().config
    monkeypatch.setattr(lr, "find", None)
    s = session.start(cfg, Terminal(quiet=True))
    frozen, unfrozen = s.plan(rates.choose(s)).phases
    assert (frozen.lrs[-1], unfrozen.lrs[-1]) == (4e-3, 3e-4)


def test_a_found_rate_is_recorded_with_its_reason(images, tmp_path, whole):
    from imgclf.runs import Run

    settings = [parse_set(text) for text in SMALL if "=" in text]
    more = map(parse_set, [f"data.path={images}", "data.batch_size=9", "train.freeze_epochs=1"])
    cfg = load("digits", [*settings, *more]).config
    shutil.copytree(whole, tmp_path / "run")
    run = Run(tmp_path / "run")
    chosen = rates.choose(session.start(cfg, Terminal(quiet=True)), run)
    kept = run.manifest()["learning_rates"]["lr"]
    assert kept["value"] == chosen and kept["reason"] and len(kept["suggestions"]) == 4
    assert [name for name, _ in rates.facts(run.manifest()["learning_rates"])] == [
        "learning rate",
        "learning rate, unfrozen",
    ]


def test_the_sweep_leaves_no_trace(images, whole, tmp_path):
    """A run that is given what the other one found ends with the same bits: the sweep between changed nothing."""
    found = json.loads((whole / "lr_find_unfrozen.json").read_text())["chosen"]
    given = ["--lr", "0.003", "--set", f"train.lr_unfrozen={found}"]
    done = run_here("train", "-d", images, *SMALL, *given, "--name", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "runs" / "run", whole)
