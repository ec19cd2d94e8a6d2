"""How much of an image the model sees: chosen by a probe on training images, given, or all of the square."""

import json

import numpy as np
import pytest
import shapes
import torch
from PIL import Image

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data import loaders
from imgclf.runs import Run
from imgclf.training import framing, looking, probe
from imgclf.workflow import session
from imgclf.workflow.resume import resume
from imgclf.workflow.train import train

SMALL = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "model.arch": "resnet18",
    "train.precision": "fp32", "train.device": "cpu", "train.epochs": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("framing"), per_class=8)


def settings(folder, **changes):
    return load_config(
        "folder",
        **{**SMALL, "data.path": str(folder / "images"), "model.weights": str(folder / "weights.pth"), **changes},
    )


def start(folder, **changes):
    return session.start(settings(folder, **changes), Terminal(quiet=True), to_train=True)


def told(s):
    return [note for note in s.decisions if note.startswith("framing")]


@pytest.mark.parametrize(
    ("size", "at", "shares"),
    [(224, 224, (1.0, 0.875)), (192, 224, (1.0, 0.75)), (32, 224, (1.0, 0.75)), (256, 224, (1.0,)), (288, 224, (1.0,))],
)
def test_objects_are_tried_as_large_as_the_weights_know_them(size, at, shares):
    assert framing.candidates(size, at) == shares


def test_the_lowest_loss_counts_and_is_told_with_the_key_that_decides_otherwise():
    share, [text] = framing.told({1.0: 0.5, 0.875: 0.25})
    assert share == 0.875
    assert text == (
        "framing: the centre 0.875 of the shorter side; a probe's cross-validated loss is 0.250, 0.500 with the whole "
        "centre square (augment.crop_pct: auto)"
    )
    assert framing.told({1.0: 0.25, 0.875: 0.25})[0] == 1.0
    assert framing.told({1.0: 0.25, 0.875: 0.2485})[0] == 1.0  # no more than chance
    assert framing.told({1.0: 0.25, 0.875: 0.2465})[0] == 0.875


def test_the_choice_is_that_of_the_probe(folder, monkeypatch):
    losses = []
    original = probe.held_out_loss
    monkeypatch.setattr(probe, "held_out_loss", lambda *a: losses.append(original(*a)) or losses[-1])
    s = start(folder)
    assert len(losses) == 3 and losses[0] != losses[1]  # the third is of another stage (test_familiarity.py)
    share = 0.75 if losses[1] < framing.CLEARLY * losses[0] else 1.0
    assert s.loaders.preprocess.crop_pct == share
    assert f"{losses[0]:.3f}" in told(s)[0] and f"{losses[1]:.3f}" in told(s)[0]


@pytest.mark.parametrize(
    ("whole", "centre", "before", "share"),
    [(0.2, 0.196, 0.3, 0.75), (0.2, 0.196, 0.1, 1.0), (0.2, 0.189, 0.1, 0.75), (0.2, 0.199, 0.3, 1.0)],
)
def test_images_the_body_does_not_know_keep_their_edges_unless_that_is_much_worse(
    folder, monkeypatch, whole, centre, before, share
):
    given = iter([whole, centre, before, before])
    monkeypatch.setattr(probe, "held_out_loss", lambda *a: next(given))
    s = start(folder)
    assert s.loaders.preprocess.crop_pct == share
    assert s.familiar is (before > whole)


@pytest.mark.parametrize(("better", "share"), [(0, 1.0), (1, 0.75)])
def test_all_images_are_judged_as_chosen(folder, monkeypatch, better, share):
    given = iter([0.2, 0.1, 0.3] if better else [0.1, 0.2, 0.3])
    monkeypatch.setattr(probe, "held_out_loss", lambda *a: next(given))
    s = start(folder)
    path = s.data.dataset.path(s.data.dataset.valid[0])
    with Image.open(path) as image:
        whole = int(32 / share)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        edge = (whole - 32) // 2
        resized = square.resize((whole, whole), Image.Resampling.BILINEAR)
        expected = np.asarray(resized.crop((edge, edge, edge + 32, edge + 32)))
    images, _ = next(iter(s.loaders.dls.valid))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (s.loaders.preprocess.mean, s.loaders.preprocess.std))
    seen = ((images[0].cpu().as_subclass(torch.Tensor) * std + mean) * 255).round()
    np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"augment.crop_pct": 0.8},
        {"augment.resize": "squish"},
        {"augment.size": 256, "augment.presize": 256},
        {"train.recipe": "book"},
        {"train.freeze_epochs": 1, "train.epochs": 1},
        {"model.pretrained": False, "model.weights": None, "train.epochs": 1},
    ],
    ids=str,
)
def test_nothing_is_tried_where_nothing_is_to_be_chosen(folder, monkeypatch, changes):
    monkeypatch.setattr(looking, "losses", lambda *a: pytest.fail("framings are compared"))
    s = start(folder, **changes)
    assert s.loaders.preprocess.crop_pct == changes.get("augment.crop_pct", 1.0)
    assert not told(s)


def test_a_look_at_learning_rates_takes_no_pass_for_it(folder, monkeypatch):
    monkeypatch.setattr(looking, "look", lambda *a, **k: pytest.fail("images are looked at"))
    session.start(settings(folder), Terminal(quiet=True))


def test_where_no_class_has_two_images_the_whole_square_stays(folder, monkeypatch):
    monkeypatch.setattr(probe, "held_out_loss", lambda *a: None)
    s = start(folder)
    assert s.loaders.preprocess.crop_pct == 1.0 and not told(s)


def test_no_more_images_are_looked_at_than_tell(folder, monkeypatch):
    monkeypatch.setattr(looking, "IMAGES", 10)
    made = loaders.build(settings(folder), start(folder).data.dataset, torch.device("cpu"))
    assert looking.of(made).n == 10


def test_the_model_and_whoever_goes_on_keep_the_choice(folder, tmp_path, monkeypatch):
    """A resumed run must not look at other pixels, whatever would be chosen now."""
    monkeypatch.setattr(probe, "held_out_loss", lambda *a, given=iter([0.2, 0.1, 0.3]): next(given))
    train(settings(folder, **{"train.epochs": 1}), runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    record = json.loads(run.file("model.json").read_text())
    assert record["preprocess"]["crop_pct"] == 0.75 == run.manifest()["crop_pct"]
    assert "crop of 0.75 of the shorter side" in run.file("report.html").read_text()
    before = run.file("eval/predictions.csv").read_text()
    monkeypatch.setattr(looking, "look", lambda *a, **k: pytest.fail("chosen again"))
    resume(settings(folder, **{"train.epochs": 1}), run, extend=1)
    assert json.loads(run.file("model.json").read_text())["preprocess"]["crop_pct"] == 0.75
    assert len(run.file("eval/predictions.csv").read_text().splitlines()) == len(before.splitlines())


def test_the_held_out_loss_is_that_of_the_probe():
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 5) + torch.eye(3, 5)[y] * 2
    assert probe.held_out_loss(x, y, 3) == pytest.approx(probe.fit(x, y, 3).loss)
    labels = torch.nn.functional.one_hot(y, 3)
    assert probe.held_out_loss(x, labels, 3) == pytest.approx(probe.fit_labels(x, labels).loss)
    assert probe.held_out_loss(x[:3], y[:3], 3) is None
