"""The model of the best epoch is judged by what its validation said, if the bundle says the same."""

import json

import pytest
import shapes
from support import run_here

from imgclf import runs
from imgclf.workflow import evaluate

pytestmark = pytest.mark.usefixtures("quick")
TINY = [
    *("-a", "resnet18", "-e", "2", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "8", "--seed", "3"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "model.cut=-3", "--device", "cpu"),
    *("--set", "data.workers=0", "--name", "run"),
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("once") / "images", per_class=7)


@pytest.fixture
def passes(monkeypatch):
    """The numbers of images of each pass through a bundle for its judgement."""
    predict, found = evaluate.predict, []

    def counted(predictor, root, chosen, *args, **kwargs):
        found.append(len(chosen))
        return predict(predictor, root, chosen, *args, **kwargs)

    monkeypatch.setattr(evaluate, "predict", counted)
    return found


def trained(images, cwd, *more):
    done = run_here("train", "-d", images, *TINY, *more, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads((cwd / "runs" / "run" / runs.EVAL_REPORT).read_text())


def agree(report, cwd):
    """Assert that the run's figures are those its bundle gives."""
    done = run_here("evaluate", "run", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.json["accuracy"] == report["accuracy"]
    for key in ("valid_loss", "ece_after"):
        assert done.json[key] == pytest.approx(report[key], abs=1e-5)


def test_in_fp32_there_is_no_other_pass(images, tmp_path, passes):
    report = trained(images, tmp_path, "--set", "train.precision=fp32")
    assert passes == []
    agree(report, tmp_path)


def test_in_another_precision_the_bundle_is_asked(images, tmp_path, passes):
    report = trained(images, tmp_path, "--set", "train.precision=bf16")
    assert passes == [report["n"]]
    agree(report, tmp_path)


@pytest.mark.parametrize(("epochs", "more_passes"), [("0", 0), ("1", 1)])
def test_in_another_precision_a_single_validation_is_in_fp32(epochs, more_passes, tmp_path, passes):
    folder = shapes.write_with_weights(tmp_path, per_class=7)
    more = ("-e", epochs, "--set", "train.precision=bf16", "--name", "run")
    done = run_here("train", *shapes.pretrained(folder), *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs" / "run" / runs.EVAL_REPORT).read_text())
    assert passes == [report["n"]] * more_passes
    agree(report, tmp_path)


def test_a_bundle_that_says_otherwise_is_judged_by_its_own_answers(images, tmp_path, passes, monkeypatch):
    from imgclf.training.features import Overhear

    after = Overhear.after_validate

    def misheard(self):
        after(self)
        self.said.logits[-1] += [1.0, *[0.0] * (self.said.logits.shape[1] - 1)]

    monkeypatch.setattr(Overhear, "after_validate", misheard)
    report = trained(images, tmp_path, "--set", "train.precision=fp32")
    assert passes == [report["n"]]
    agree(report, tmp_path)
