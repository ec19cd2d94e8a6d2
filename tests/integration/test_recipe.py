"""The default recipe on a pretrained body: the probe, then the body, and never worse than the probe."""

import json

import pytest
import shapes
from support import history, run_here, stopping

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("recipe"), per_class=10)


def train(folder, name, *more):
    done = run_here("train", *shapes.pretrained(folder), "--name", name, "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "runs" / name


def test_no_epochs_are_the_probe_alone_and_an_ordinary_model(folder):
    result, run = train(folder, "probe", "-e", "0")
    (row,) = history(run)
    decisions = " ".join(json.loads((run / "manifest.json").read_text())["decisions"])
    assert all(key in decisions for key in ("train.freeze_bn: auto", "train.recipe: auto", "model.lin_ftrs"))
    assert "LayerNorm, Linear" in decisions
    assert (row["phase"], row["epoch"], row["epochs"], row["best"]) == ("probe", "1", "1", "True")
    assert result["best"]["phase"] == "probe"
    assert result["best"]["valid_loss"] == pytest.approx(float(row["valid_loss"]))
    assert "training images a second" not in (run / "report.html").read_text(encoding="utf-8")
    again = run_here("evaluate", run, "--json", cwd=folder)
    assert json.loads(again.stdout)["error_rate"] == pytest.approx(float(row["error_rate"]))
    exported = run_here("export", run, "--format", "onnx", "--json", cwd=folder)
    assert exported.returncode == 0, exported.stderr


def test_the_probe_alone_can_be_extended_and_then_the_body_trains(folder):
    _, run = train(folder, "extended", "-e", "0")
    done = run_here("train", "--resume", "extended", "--extend", "1", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    _, more = history(run)
    assert more["phase"] == "extend1"
    assert float(more["lr"]) > 0
    manifest = json.loads((run / "manifest.json").read_text())
    begins = -2 if manifest["familiar"] else 0
    phases = manifest["plan"]["phases"]
    assert [(phase["freeze_to"], min(phase["lrs"]) > 0) for phase in phases] == [(-1, False), (begins, True)]


# Cut after the third stage, or not at all, it has layers that stay as they were pretrained.
@pytest.mark.parametrize(
    ("channels_last", "cut"),
    [("true", "-3"), *(pytest.param(*more, marks=pytest.mark.slow) for more in (("false", "-4"), ("true", "null")))],
)
def test_stopped_after_the_probe_and_resumed_it_ends_with_the_same_bits(folder, monkeypatch, channels_last, cut):
    more = ["-e", "1", "--set", f"train.channels_last={channels_last}", "--set", f"model.cut={cut}"]
    _, whole = train(folder, f"whole-{channels_last}{cut}", *more)
    name = f"stopped-{channels_last}{cut}"
    with stopping(monkeypatch, at=2):
        done = run_here("train", *shapes.pretrained(folder), "--name", name, *more, cwd=folder)
    assert done.returncode == 130, done.stderr
    assert len(history(folder / "runs" / name)) == 1
    assert run_here("train", "--resume", name, cwd=folder).returncode == 0
    found, expected = ([{**row, "seconds": None} for row in history(run)] for run in (folder / "runs" / name, whole))
    assert found == expected


def test_sizes_that_grow_are_for_the_epochs_after_the_probe(folder):
    _, run = train(folder, "sizes", "-e", "2", "--set", "augment.sizes=[24, 32]")
    assert [(row["phase"], row["size"]) for row in history(run)] == [
        ("probe", ""),
        ("unfrozen", "24"),
        ("unfrozen", "32"),
    ]


def test_a_run_that_gets_worse_keeps_the_probe(folder):
    result, run = train(folder, "wild", "-e", "1", "--lr", "0.03")
    probe, unfrozen = history(run)
    assert float(unfrozen["error_rate"]) > float(probe["error_rate"])
    assert result["best"]["phase"] == "probe"
    assert result["best"]["error_rate"] == pytest.approx(float(probe["error_rate"]))
    assert result["unfreezing"]["helped"] is False


def test_the_finder_looks_at_the_model_after_the_probe(folder):
    whole = ["--set", "model.cut=null"]  # without its last stages the first rates of the sweep are too high
    done = run_here("lrfind", *shapes.pretrained(folder), *whole, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["losses"]) > 10
    # The sweep begins at a rate that changes nothing, so with the loss of the head just made; a random one has log 3.
    assert found["losses"][0] < 0.9


def test_a_rate_of_adams_is_none_for_sgd(folder):
    """At 2e-4 SGD would change nothing; its rate is looked for once the head is there."""
    _, run = train(folder, "sgd", "-e", "1", "--set", "train.opt=sgd")
    rates = json.loads((run / "manifest.json").read_text())["learning_rates"]
    assert "it is Adam's" in rates["lr"]["reason"]
    assert rates["lr_unfrozen"]["value"] > 0 and (run / "lr_find_unfrozen.json").exists()
    _, run = train(folder, "own-rate", "-e", "1", "--set", "train.opt=sgd", "--lr", "0.01")
    assert "lr_unfrozen" not in json.loads((run / "manifest.json").read_text())["learning_rates"]


def test_what_is_asked_for_by_name_is_not_overridden(folder):
    _, run = train(folder, "own", "-e", "1", "--set", "model.lin_ftrs=[16]", "--lr", "1e-3")
    assert [row["phase"] for row in history(run)] == ["frozen", "unfrozen"]
    _, run = train(folder, "book", "-e", "1", "--set", "train.recipe=book", "--lr", "1e-3")
    assert [row["phase"] for row in history(run)] == ["frozen", "unfrozen"]


def test_the_dry_run_shows_all_that_the_recipe_decided_with_its_keys(folder):
    given = ["-d", "images", "-a", "resnet18", "--size", "32", "--presize", "36", "--device", "cpu"]
    done = run_here("train", *given, "--set", "model.weights=weights.pth", "--dry-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    decided = {
        "batch size": "data.batch_size", "framing": "augment.crop_pct", "flip": "augment.flip", "head": "train.recipe",
        "the body's last layers": "train.lr",
        "layers": "train.freeze_to", "BatchNorm": "train.freeze_bn", "learning rate": "train.lr_unfrozen",
        "training images are answered": "train.out_of_fold",
    }  # fmt: skip
    lines = done.stderr.splitlines()
    for what, key in decided.items():
        assert any(line.startswith(what) and key in line for line in lines), (what, done.stderr)
    stays = "stem and stages 1 and 2 stay as pretrained" in done.stderr
    assert stays == ("the body's last layers know such images" in done.stderr)
    assert "to be found" not in done.stderr
