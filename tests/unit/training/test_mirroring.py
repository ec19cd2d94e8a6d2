"""Whether images are mirrored in training: as the probe takes mirror images, as given, or as ever."""

import numpy as np
import pytest
import shapes
import torch
from PIL import Image

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data import presize
from imgclf.errors import ConfigError
from imgclf.runs import Run
from imgclf.training import looking, mirroring
from imgclf.training.looking import Look
from imgclf.workflow import session
from imgclf.workflow.resume import resume
from imgclf.workflow.train import train

SMALL = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "augment.crop_pct": 1,
    "model.arch": "resnet18", "train.precision": "fp32", "train.device": "cpu", "train.epochs": 1,
}  # fmt: skip


def stripes(folder, per_class=24):
    """Two classes of stripes, and the mirror image of one is the other."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    for name, across in (("down", x - y), ("up", x + y)):
        for i in range(per_class):
            waves = np.sin(across / rng.uniform(2, 3) + rng.uniform(0, 6)) * 90 + rng.normal(0, 20, (40, 40))
            target = folder / name / f"{i}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((128 + waves).clip(0, 255).astype(np.uint8)).convert("RGB").save(target)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = shapes.write_with_weights(tmp_path_factory.mktemp("mirroring"), per_class=8)
    stripes(made / "stripes")
    return made


def settings(folder, images="images", **changes):
    return load_config(
        "folder",
        **{**SMALL, "data.path": str(folder / images), "model.weights": str(folder / "weights.pth"), **changes},
    )


def start(folder, images="images", **changes):
    return session.start(settings(folder, images, **changes), Terminal(quiet=True), to_train=True)


def told(s):
    return [note for note in s.decisions if note.startswith("flip")]


def flips(s):
    """Whether training images are mirrored at all."""
    [fused] = [t for t in s.loaders.dls.train.after_item.fs if isinstance(t, presize.Fused)]
    return fused.geometry.do_flip


def test_where_the_mirror_image_is_another_class_none_is_mirrored(folder):
    s = start(folder, "stripes")
    assert not flips(s) and s.loaders.suited.flip is False
    assert "no image is mirrored, for left is not right" in told(s)[0] and "(augment.flip: auto)" in told(s)[0]


def test_where_it_is_the_same_half_of_them_are(folder):
    """Crossed stripes have no direction."""
    for path in (folder / "stripes").rglob("*.png"):
        target = folder / "crossed" / ("fine" if path.parent.name == "up" else "coarse") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            wide = image.resize((80, 80)) if "coarse" in target.parts else image
            Image.blend(wide, wide.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5).save(target)
    s = start(folder, "crossed")
    assert flips(s) and s.loaders.suited.flip is True
    assert told(s)[0].startswith("flip: half of the training images are mirrored; a probe's cross-validated loss is ")


@pytest.mark.parametrize("given", [True, False])
def test_what_is_given_is_not_looked_into(folder, monkeypatch, given):
    monkeypatch.setattr(mirroring, "losses", lambda *a: pytest.fail("mirror images are looked at"))
    s = start(folder, "stripes", **{"augment.flip": given})
    assert flips(s) is given and s.loaders.suited.flip is None and not told(s)


@pytest.mark.parametrize(
    "changes",
    [
        {"train.recipe": "book"},
        {"train.schedule": "one_cycle"},
        {"model.pretrained": False, "model.weights": None},
        {"train.epochs": 0},
        {"augment.flip_vert": True},
    ],
    ids=str,
)
def test_where_no_probe_can_tell_or_nothing_is_trained_it_stays_as_ever(folder, monkeypatch, changes):
    monkeypatch.setattr(mirroring, "losses", lambda *a: pytest.fail("mirror images are looked at"))
    s = start(folder, "stripes", **changes)
    assert flips(s) and s.loaders.suited.flip is None


def test_the_reference_engine_keeps_to_it(folder):
    made = presize.transforms(settings(folder, **{"augment.engine": "fastai"}), 36, start(folder).loaders.preprocess)
    assert "flip" in str(made).lower()
    s = start(folder, "stripes", **{"augment.engine": "fastai"})
    assert s.loaders.suited.flip is False and "flip" not in str(s.loaders.dls.train.after_batch).lower()


def test_up_is_down_only_where_left_is_right(folder):
    assert settings(folder, **{"augment.flip_vert": True}).augment.flip is True
    with pytest.raises(ConfigError, match="flip_vert"):
        settings(folder, **{"augment.flip_vert": True, "augment.flip": False})


def test_a_run_that_goes_on_keeps_the_choice(folder, tmp_path, monkeypatch):
    cfg = settings(folder, "stripes")
    train(cfg, runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    assert run.manifest()["flip"] is False
    monkeypatch.setattr(looking, "look", lambda *a, **k: pytest.fail("chosen again"))
    resume(cfg, run, extend=1)
    assert run.manifest()["flip"] is False
    assert any("augment.flip" in told for told in run.manifest()["decisions"])
    assert "left is not right" in run.file("report.html").read_text()


def test_a_probe_alone_that_goes_on_chooses_then(folder, tmp_path):
    cfg = settings(folder, "stripes", **{"train.epochs": 0})
    train(cfg, runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    assert run.manifest()["flip"] is None
    resume(cfg, run, extend=1)
    assert run.manifest()["flip"] is False


def test_a_run_from_before_there_was_a_choice_goes_on_as_it_was(folder, tmp_path, monkeypatch):
    cfg = settings(folder, "stripes")
    train(cfg, runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    before = run.manifest()
    del before["flip"]
    monkeypatch.setattr(Run, "manifest", lambda self: before)
    monkeypatch.setattr(looking, "look", lambda *a, **k: pytest.fail("chosen now"))
    assert flips(session.start(cfg, Terminal(quiet=True), began=before, to_train=True))


def test_it_takes_a_clear_difference(monkeypatch):
    one = torch.full((100,), 0.4) + torch.linspace(-0.1, 0.1, 100)
    assert mirroring.told(one, one + 0.05)[0]  # an eighth more
    assert not mirroring.told(one, one + 0.07)[0]
    seldom = one.clone()
    seldom[0] = 15.0  # one image of a hundred says nothing, however much it says
    assert seldom.mean() > 1.2 * one.mean() and mirroring.told(one, seldom)[0]
    _, [text] = mirroring.told(one, one + 0.4)
    assert text == (
        "flip: no image is mirrored, for left is not right; a probe's cross-validated loss is 0.400, 0.800 of the "
        "mirror images (augment.flip: auto)"
    )


@pytest.mark.parametrize("several", [False, True])
def test_each_image_is_answered_by_a_head_that_does_not_know_it(several):
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    targets = torch.nn.functional.one_hot(y, 3) if several else y
    seen = Look(torch.randn(60, 5) + torch.eye(3, 5)[y] * 2, targets, 3)
    other = Look(seen.features[:, [1, 0, 2, 3, 4]], targets, 3)  # two classes change places
    same, changed = mirroring.losses(seen, other)
    assert same.mean().item() == pytest.approx(seen.loss, rel=0.2 if several else 1e-4)
    assert changed[y == 0].mean() > 2 * same[y == 0].mean() and not mirroring.told(same, changed)[0]
    assert mirroring.losses(Look(seen.features[:3], y[:3], 3), Look(other.features[:3], y[:3], 3)) is None
