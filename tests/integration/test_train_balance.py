"""An imbalanced set through the command line: what `data.balance` changes, and where it is seen."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support import run_here
from torch import nn

from imgclf.console import Terminal
from imgclf.data import loaders, prepare

pytestmark = pytest.mark.usefixtures("quick")
KINDS = ("none", "sampler", "loss")


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """160 darker images and 10 brighter ones to train on, 60 and 40 to judge by; many could be either."""
    root, rng = tmp_path_factory.mktemp("rare"), np.random.default_rng(0)
    for part, counts in (("train", {"dark": 160, "bright": 10}), ("valid", {"dark": 60, "bright": 40})):
        for label, n in counts.items():
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(n):
                middle = rng.normal(112 if label == "dark" else 144, 18)
                pixels = rng.normal(middle, 9, (8, 8, 1)).repeat(3, axis=2)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root


def recalls(cfg) -> dict[str, float]:
    """A linear model's share of each class's validation images that it recognises: an answer without chance."""
    from fastai.vision.all import SGD, Learner

    from imgclf.training import seeding
    from imgclf.training.losses import loss_func

    data = prepare.prepare(cfg, Terminal(quiet=True)).dataset
    made = loaders.build(cfg, data, torch.device("cpu"))
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 2))
    loss = loss_func(cfg, data.classes, balanced=made.balance.loss_weights)
    learn = Learner(made.dls, net, loss_func=loss, opt_func=SGD)
    with learn.no_bar(), learn.no_logging():
        learn.fit(6, 0.6, cbs=seeding.SeedEpochs(cfg, "test"))
        probs, targets = learn.get_preds(dl=made.dls.valid)
    right = probs.argmax(1) == targets
    return {name: float(right[targets == i].float().mean()) for i, name in enumerate(data.classes)}


def test_a_rare_class_is_recognised_more_often(rare, make_config):
    small = {"augment.size": 8, "augment.presize": 8, "augment.max_lighting": 0.0, "data.workers": 0}
    small |= {"data.batch_size": 17}
    found = {kind: recalls(make_config(rare, **small, **{"data.balance": kind})) for kind in KINDS}
    for kind in ("sampler", "loss"):
        assert found[kind]["bright"] > found["none"]["bright"] + 0.2, found
        assert found["none"]["dark"] > found[kind]["dark"] > 0.6, found  # the price


def test_the_plan_and_the_report_show_it(rare, tmp_path):
    settings = [
        "-a",
        "resnet18",
        "--size",
        "8",
        "--presize",
        "8",
        "-e",
        "1",
        "-b",
        "16",
        "--lr",
        "0.003",
        "--name",
        "r",
    ]
    settings += ["--set", "model.cut=-4"]
    for change in ("model.pretrained=false", "train.precision=fp32", "data.workers=0", "data.balance=loss"):
        settings += ["--set", change]
    done = run_here("train", "-d", rare, *settings, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "balance: loss; 'dark' has 160 training images, 'bright' 10: 16.0 to 1; weights from 0.65" in done.stderr
    run = tmp_path / "runs" / "r"
    rows = {row["class"]: row for row in json.loads((run / "eval" / "report.json").read_text())["per_class"]}
    assert (rows["dark"]["n_train"], rows["bright"]["n_train"]) == (160, 10)
    assert rows["bright"]["weight"] == pytest.approx(10 * rows["dark"]["weight"])
    page = (run / "report.html").read_text()
    assert "trained on" in page and f"{rows['bright']['weight']:.2f}" in page
    again = run_here("evaluate", run, "--json", cwd=tmp_path)
    assert {row["class"]: row["weight"] for row in again.json["per_class"]} == {c: r["weight"] for c, r in rows.items()}
    assert "trained on" in run_here("evaluate", run, cwd=tmp_path).stdout


def test_an_unknown_kind_is_named(rare, tmp_path):
    done = run_here("train", "-d", rare, "--set", "data.balance=oversample", cwd=tmp_path)
    assert done.returncode == 2
    assert "data.balance" in done.stderr and "sampler" in done.stderr
    assert list(tmp_path.iterdir()) == []
