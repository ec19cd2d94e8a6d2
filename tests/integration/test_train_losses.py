"""Every loss trains through the command line, with weights of classes, and is the one in the history."""

import csv
import math

import pytest
import shapes
from support import run_here

FAST = [
    *("-a", "resnet18", "--size", "16", "--presize", "20", "-b", "12", "--epochs", "1", "--lr", "0.003"),
    *("--set", "data.workers=0", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--set", "model.cut=-4"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("data") / "shapes", per_class=6, valid_per_class=2)


def train(photos, work, loss, *more):
    return run_here("train", "-d", photos, *FAST, "--set", f"train.loss={loss}", *more, "--json", cwd=work)


@pytest.fixture(scope="module")
def train_losses():
    """The training loss of each run of this file."""
    return {}


@pytest.mark.parametrize("loss", ["cross_entropy", "label_smoothing", "focal", "bce", "mse", "mae"])
def test_each_loss_trains(loss, photos, tmp_path, train_losses):
    done = train(photos, tmp_path, loss, "--set", "train.class_weights={disc: 2.0}")
    assert done.returncode == 0, done.stderr
    with (tmp_path / done.json["run_dir"] / "history.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    assert all(math.isfinite(float(row[name])) for name in ("train_loss", "valid_loss"))
    assert float(row["train_loss"]) > 0
    # Same seed, data and steps: were the key ignored, two runs would have the same loss.
    assert float(row["train_loss"]) not in train_losses.values()
    train_losses[loss] = float(row["train_loss"])


@pytest.mark.parametrize(
    ("loss", "more", "said"),
    [
        ("cross-entropy", [], "cross_entropy"),
        ("focal", ["--set", "train.focal_gamma=-1"], "focal_gamma"),
        ("auto", ["--set", "train.class_weights={disk: 2.0}"], "Did you mean 'disc'"),
    ],
)
def test_a_wrong_loss_is_said(loss, more, said, photos, tmp_path):
    done = run_here("train", "-d", photos, *FAST, "--set", f"train.loss={loss}", *more, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
