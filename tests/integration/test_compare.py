"""`imgclf compare`: runs trained for it, finished runs, and everything that cannot be compared."""

import csv
import shutil

import pytest
import shapes
from support import run_here

FAST = [
    *("-e", "1", "--freeze-epochs", "0", "--size", "32", "--presize", "40", "-b", "12", "--lr", "0.003"),
    *("--set", "data.workers=0", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--set", "model.cut=-4"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    shapes.write(folder / "photos", per_class=10)
    return folder


@pytest.fixture(scope="module")
def trained(work):
    done = run_here("compare", "-d", "photos", "--archs", "resnet18,resnet34", *FAST, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    return done


def test_the_result_is_the_contract(trained, work):
    found = trained.json
    assert [(r["name"], r["arch"]) for r in found["runs"]] == [
        ("compare-resnet18", "resnet18"), ("compare-resnet34", "resnet34"),
    ]  # fmt: skip
    small, large = found["runs"]
    assert 0 < small["params"] < large["params"]
    assert found["n"] == 6
    for run in found["runs"]:
        with (work / "runs" / run["name"] / "eval" / "predictions.csv").open() as stream:
            wrong = sum(row["pred"] != row["target"] for row in csv.DictReader(stream))
        assert run["error_rate"]["value"] == pytest.approx(wrong / 6)
        assert run["error_rate"]["low"] <= wrong / 6 <= run["error_rate"]["high"]
        assert run["latency_ms"] > 0
        assert run["seconds"] > 0
    [pair] = found["pairs"]
    assert (pair["a"], pair["b"]) == ("compare-resnet18", "compare-resnet34")
    assert 0 < pair["p_value"] <= pair["p_holm"] <= 1
    assert "Holm" in found["test"]
    assert len(pair["flips"]) == pair["only_a"] + pair["only_b"]
    assert small["bytes"] == (work / "runs" / small["name"] / "model.safetensors").stat().st_size
    # Six images cannot show a difference at 5 % unless all six differ.
    assert found["recommended"] == "compare-resnet18"
    assert "of 6 images" in found["why"] or "on 6 images" in found["why"]


def test_what_is_trained_is_used_again_and_what_is_new_is_trained(trained, work):
    before = (work / "runs" / "compare-resnet18" / "manifest.json").read_text()
    again = run_here("compare", "-d", "photos", "--archs", "resnet18,resnet34", *FAST, cwd=work)
    assert again.returncode == 0
    assert again.stderr.count("used as it is") == 2
    assert "recommended: compare-resnet18" in again.stdout
    assert "training compare" not in again.stderr
    assert (work / "runs" / "compare-resnet18" / "manifest.json").read_text() == before


def test_finished_runs_are_compared_as_they_are(trained, work):
    done = run_here("compare", "compare-resnet18", "runs/compare-resnet34", "--json", cwd=work)
    assert done.returncode == 0
    assert done.json["pairs"] == trained.json["pairs"]
    assert done.json["recommended"] == trained.json["recommended"]


def test_another_configuration_under_the_name_is_refused_before_any_training(trained, work):
    done = run_here("compare", "-d", "photos", "--archs", "resnet50,resnet18", *FAST, "--seed", "7", cwd=work)
    assert done.returncode == 4
    assert "compare-resnet18 exists already, with another configuration" in done.stderr
    assert "--name PREFIX" in done.stderr
    assert not (work / "runs" / "compare-resnet50").exists()


@pytest.fixture
def copy(trained, work):
    """A copy of a run whose files a test may change."""
    target = work / "runs" / "copy"
    shutil.copytree(work / "runs" / "compare-resnet34", target)
    yield target
    shutil.rmtree(target)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "column", "message"),
    [("split.csv", "split", "not judged on the same images"), ("split.csv", "label", "another label or content"),
     ("split.csv", "hash", "another label or content"), ("eval/predictions.csv", "target", "against other labels")],
)  # fmt: skip
def test_other_images_labels_or_content_are_a_data_error(copy, work, file, column, message):
    with (copy / file).open() as stream:
        rows = list(csv.DictReader(stream))
    row = next(r for r in rows if r.get("split", "valid") == "valid")
    row[column] = {"split": "train", "hash": "0" * 32}.get(column, "other")
    with (copy / file).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = run_here("compare", "compare-resnet18", "copy", cwd=work)
    assert done.returncode == 3
    assert message in done.stderr
    assert row["path"] in done.stderr


def test_the_images_that_flipped_are_listed(copy, work):
    with (copy / "eval" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    row = rows[0]
    row["pred"] = next(name for name in ("disc", "square") if name != row["target"])
    with (copy / "eval" / "predictions.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerows([{**r, "pred": r["target"]} if r is not row else r for r in rows])
    done = run_here("compare", "compare-resnet34", "copy", "--json", cwd=work)
    [pair] = done.json["pairs"]
    assert len(pair["flips"]) == pair["only_a"] + pair["only_b"] > 0
    for flip in pair["flips"]:
        assert (flip["a"] == flip["target"]) != (flip["b"] == flip["target"])
    assert "flipped" in run_here("compare", "compare-resnet34", "copy", cwd=work).stdout


def test_an_image_only_one_could_read_counts_for_none(copy, work):
    lines = (copy / "eval" / "predictions.csv").read_text().splitlines(keepends=True)
    (copy / "eval" / "predictions.csv").write_text("".join(lines[:-1]))
    done = run_here("compare", "compare-resnet18", "copy", "--json", cwd=work)
    assert done.json["n"] == 5
    assert "1 images were judged by one of compare-resnet18 and copy alone: left out" in done.stderr


def test_an_unfinished_run_is_refused(copy, work):
    edit(copy / "manifest.json", '"finished"', '"interrupted"')
    done = run_here("compare", "compare-resnet18", "copy", cwd=work)
    assert done.returncode == 4
    assert "is not finished: interrupted" in done.stderr
    assert "imgclf train --resume runs/copy" in done.stderr


def test_a_run_without_answers_is_refused(copy, work):
    (copy / "eval" / "predictions.csv").unlink()
    done = run_here("compare", "compare-resnet18", "copy", cwd=work)
    assert done.returncode == 4
    assert "predictions.csv" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "0 runs to compare, two are needed"),
        (["compare-resnet18"], 2, "1 run to compare"),
        (["compare-resnet18", "compare-resnet18"], 2, "two runs of the same name: compare-resnet18"),
        (["compare-resnet18", "compare-resnet43"], 4, "Did you mean 'compare-resnet34'"),
        (["-d", "photos", "--archs", "resnet18"], 2, "0 runs to compare"),
        (["-d", "photos", "--archs", "resnet18,resnet43"], 2, "resnet34"),
        (["-d", "photos", "--archs", "resnet18,resnet18"], 2, "--archs resnet18,resnet18"),
        (["-d", "photos", "--lrs", "1e-3,fast"], 2, "--lrs: 'fast' is no learning rate"),
        (["-d", "photos", "--lrs", "1e-3,-1"], 2, "train.lr"),
        (["-d", "photos", "--losses", "focal,fokal"], 2, "train.loss"),
        (["compare-resnet18", "compare-resnet34", "-e", "3", "--seed", "0"], 2, "--epochs, --seed without effect"),
    ],
)
def test_what_cannot_be_compared(trained, work, arguments, code, message):
    before = sorted(p.name for p in (work / "runs").iterdir())
    done = run_here("compare", *arguments, cwd=work)
    assert done.returncode == code
    assert message in done.stderr
    assert sorted(p.name for p in (work / "runs").iterdir()) == before


def test_names_say_what_differs(monkeypatch):
    from imgclf.cli import compare
    from imgclf.cli.options import KEYS, Settings
    from imgclf.console import Terminal

    settings = Settings(None, dict.fromkeys(KEYS), [], Terminal(quiet=True))
    made = compare._variants(settings, "try", {"--losses": ["focal", "cross_entropy"], "--lrs": ["1e-3", "auto"]})
    assert [v.name for v in made] == [
        "try-focal-lr1e-3", "try-focal-lrauto", "try-cross_entropy-lr1e-3", "try-cross_entropy-lrauto",
    ]  # fmt: skip
    assert [(v.config.train.loss, v.config.train.lr) for v in made][1:3] == [("focal", "auto"), ("cross_entropy", 1e-3)]


def test_runs_for_different_questions_are_refused(copy, work):
    edit(copy / "model.json", '"task": "single"', '"task": "multi"')
    done = run_here("compare", "copy", "compare-resnet18", cwd=work)
    assert done.returncode == 3
    assert "some of the runs give one label an image, others several" in done.stderr
