"""Whether the body's last layers suit the images: the probe says, and so how much of the body trains, and how fast."""

import pytest
import shapes
import torch

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.runs import Run
from imgclf.training import familiarity, looking, plan, probe, recipe_lr
from imgclf.workflow import lrfind, session, suiting
from imgclf.workflow.resume import resume
from imgclf.workflow.train import train

SMALL = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "augment.crop_pct": 1,
    "augment.flip": True, "model.arch": "resnet18", "train.precision": "fp32", "train.device": "cpu", "train.epochs": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("familiarity"), per_class=8)


@pytest.fixture
def says(monkeypatch):
    """Let the probe be at these losses: of the last stage, and of the one before."""

    def say(last, before):
        given = iter([last, before])
        monkeypatch.setattr(probe, "held_out_loss", lambda *a: next(given))

    return say


def settings(folder, **changes):
    return load_config(
        "folder",
        **{**SMALL, "data.path": str(folder / "images"), "model.weights": str(folder / "weights.pth"), **changes},
    )


def start(folder, **changes):
    return session.start(settings(folder, **changes), Terminal(quiet=True), to_train=True)


def chosen(s):
    """The first layer group that trains after the probe, and the rate."""
    lr, _ = s.recipe_lr
    return s.plan(lr).phases[-1].freeze_to, s.plan(lr).phases[-1].lrs[-1]


def test_it_takes_a_clear_difference():
    assert familiarity.told(1.0, 2.0, 0)[0] is familiarity.told(1.0, 0.91, 0)[0] is True
    familiar, [text] = familiarity.told(0.4, 0.13, 0)
    assert familiar is familiarity.told(1.0, 0.89, 0)[0] is familiarity.told(1.0, 0.89, familiarity.MANY)[0] is False
    assert text == (
        "the body's last layers were made for other images: a probe's cross-validated loss is 0.400, 0.130 one stage "
        "earlier (train.freeze_to, train.lr, train.ema: auto)"
    )


@pytest.mark.parametrize(
    ("before", "passing", "familiar"),
    [
        (1.05, familiarity.MANY, "hardly"),
        (0.91, familiarity.MANY, "hardly"),
        (1.05, familiarity.MANY - 1, True),
        (1.05, 0, True),
        (1.15, familiarity.MANY, True),
    ],
)
def test_with_many_images_to_pass_by_it_is_not_enough_that_no_other_layers_know_them_better(before, passing, familiar):
    found, [text] = familiarity.told(1.0, before, passing)
    assert found == familiar
    assert ("hardly know such images better than earlier ones, and 5,000 will pass by" in text) == (found == "hardly")


def test_of_a_body_that_knows_such_images_the_last_layers_train_a_little(folder, says):
    says(0.2, 0.5)
    s = start(folder)
    assert s.loaders.suited.familiar is True
    assert chosen(s) == (plan.LAST_OF_BODY, recipe_lr.OUT_OF_FOLD)
    assert any("know such images" in note for note in s.decisions)


@pytest.mark.parametrize(("epochs", "lr"), [(55, recipe_lr.OUT_OF_FOLD), (56, recipe_lr.UNFAMILIAR)])
def test_of_another_all_layers_train_and_with_enough_images_at_a_higher_rate(folder, says, epochs, lr):
    says(0.5, 0.2)
    s = start(folder, **{"train.epochs": epochs})
    assert s.loaders.suited.familiar is False and len(s.data.dataset.train) == 18
    assert chosen(s) == (plan.ALL_LAYERS, lr)
    assert "made for other images" in s.recipe_lr[1]
    assert ("with 990 images to pass by, too few" in s.recipe_lr[1]) == (epochs == 55)
    assert any(note.startswith("layers: all train") for note in s.decisions)
    assert any("later ones count more (train.ema: auto)" in note for note in s.decisions)


def test_of_one_that_hardly_knows_them_all_layers_train_at_a_rate_in_between(folder, says, monkeypatch):
    monkeypatch.setattr(familiarity, "MANY", 36)
    says(0.5, 0.5)
    s = start(folder, **{"train.epochs": 2})
    assert s.loaders.suited.familiar == "hardly" and not s.familiar
    assert chosen(s) == (plan.ALL_LAYERS, recipe_lr.HARDLY) and "hardly knows such images" in s.recipe_lr[1]
    for told in (
        "layers: all train",
        "hardly know such images",
        "later ones count more",
        "not turned, zoomed or warped",
    ):
        assert any(told in note for note in s.decisions), told


@pytest.mark.parametrize(
    ("last", "settings", "p"), [(0.2, {}, 0.75), (0.5, {}, 0), (0.5, {"augment.p_affine": 0.3}, 0.3)]
)
def test_images_of_another_kind_are_not_turned(folder, says, last, settings, p):
    says(last, 0.3)
    s = start(folder, **settings)
    [fused] = [step for step in s.learn.dls.train.after_item if hasattr(step, "geometry")]
    assert fused.geometry.p_affine == p
    assert any("augment.p_affine: auto" in note for note in s.decisions) == (p == 0)


def test_what_is_given_stays(folder, says):
    says(0.5, 0.2)
    s = start(folder, **{"train.freeze_to": 1, "train.lr": 1e-5})
    assert s.plan(s.given_lr).phases[-1].freeze_to == 1 and s.given_lr == 1e-5


def test_both_stages_are_looked_at_as_the_probe_would_take_them(folder):
    s = start(folder)
    preprocess = s.loaders.preprocess
    body = looking.through(s.cfg, s.arch, s.weights, s.hardware, preprocess)
    seen = looking.look(body, s.loaders, s.hardware)
    images, _ = next(iter(looking.of(s.loaders)))
    with torch.no_grad():
        before = s.learn.model[0][:-1].eval()(images.as_subclass(torch.Tensor))
        last = s.learn.model[0][-1].eval()(before)
    for found, maps in ((seen.features, last), (seen.before, before)):
        pooled = maps.mean((2, 3))
        torch.testing.assert_close(
            found[: len(images)], torch.nn.functional.layer_norm(pooled, pooled.shape[1:]), rtol=1e-3, atol=1e-3
        )
    mirrored = looking.look(body, s.loaders, s.hardware, mirrored=True)
    again = looking.look(body, s.loaders, s.hardware)
    assert not torch.equal(seen.features, mirrored.features) and torch.equal(seen.features, again.features)


def test_where_stages_are_not_known_nothing_is_asked(folder, monkeypatch):
    monkeypatch.setattr(looking, "has_stages", lambda arch: False)
    s = start(folder)
    assert s.loaders.suited.familiar is None and chosen(s)[0] == plan.LAST_OF_BODY


@pytest.mark.parametrize("familiar", [True, False])
def test_whoever_goes_on_keeps_the_choice(folder, tmp_path, says, monkeypatch, familiar):
    """A probe alone has asked already: training images were looked at anyway."""
    says(*((0.2, 0.5) if familiar else (0.5, 0.2)))
    cfg = settings(folder, **{"train.epochs": 0})
    train(cfg, runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    assert run.manifest()["familiar"] is familiar
    monkeypatch.undo()
    monkeypatch.setattr(looking, "look", lambda *a, **k: pytest.fail("asked again"))
    resume(cfg, run, extend=1)
    phase = run.manifest()["plan"]["phases"][-1]
    assert phase["freeze_to"] == (plan.LAST_OF_BODY if familiar else plan.ALL_LAYERS)
    assert max(phase["lrs"]) == pytest.approx(recipe_lr.OUT_OF_FOLD if familiar else recipe_lr.UNFAMILIAR)


def test_the_finder_which_does_not_look_says_so(folder, caplog):
    caplog.set_level("INFO", "imgclf")
    lrfind.find_lr(settings(folder))
    assert "takes 0.0002" in caplog.text and "0.001 or 0.002 if it finds that the body hardly knows such" in caplog.text


def test_a_run_from_before_there_was_a_choice_goes_on_as_it_was():
    assert suiting.recorded({"crop_pct": 0.875}) == suiting.Suited(0.875, True, True)
    assert suiting.recorded({}) == suiting.Suited()


def test_a_run_of_a_body_that_hardly_knows_its_images_goes_on_as_it_began(folder, tmp_path, says, monkeypatch):
    monkeypatch.setattr(familiarity, "MANY", 18)
    says(0.5, 0.5)
    cfg = settings(folder)
    train(cfg, runs_dir=tmp_path, name="run")
    run = Run(tmp_path / "run")
    assert run.manifest()["familiar"] == "hardly"
    monkeypatch.undo()
    resume(cfg, run, extend=1)
    phase = run.manifest()["plan"]["phases"][-1]
    assert phase["freeze_to"] == plan.ALL_LAYERS and max(phase["lrs"]) == pytest.approx(recipe_lr.HARDLY)
