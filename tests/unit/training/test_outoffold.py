"""In training the last layer answers with heads that do not know the image; everywhere else it is itself."""

import copy

import pytest
import shapes
import torch
from fastai.vision.all import Callback
from torch.nn import functional as F

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.training import features, learner
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session

SMALL = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "model.arch": "resnet18",
    "train.precision": "fp32", "train.device": "cpu", "train.epochs": 1,
}  # fmt: skip

UNCHANGED = {
    "flip": False, "min_scale": 1.0, "max_rotate": 0, "max_warp": 0, "min_zoom": 1, "max_zoom": 1, "max_lighting": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("outoffold"), per_class=8)


def start(folder, **changes):
    settings = {**SMALL, "data.path": str(folder / "images"), "model.weights": str(folder / "weights.pth"), **changes}
    return session.start(load_config("folder", **settings), Terminal(quiet=True))


class Answers(Callback):
    """The images' numbers, labels and answers, and what the last layer was given, of every training step."""

    order = 55

    def __init__(self):
        self.given, self.numbers, self.logits, self.targets = [], [], [], []

    def before_train(self):
        self.hook = self.model[1][-1].register_forward_hook(self.hear)

    def hear(self, layer, given, answer):
        self.given.append(given[0].detach())

    def after_loss(self):
        if self.training:
            self.numbers += self.dl.numbers
            self.logits.append(self.pred.detach().as_subclass(torch.Tensor).clone())
            self.targets.append(self.yb[0].as_subclass(torch.Tensor).clone())

    def after_train(self):
        self.hook.remove()
        self.given, self.logits, self.targets = map(torch.cat, (self.given, self.logits, self.targets))


def trained(s, answers, rate=1e-4):
    probe, unfrozen = s.plan(rate).phases
    run_phase(s.learn, probe, [SeedEpochs(s.cfg, "probe")])
    s.learn.freeze_to(unfrozen.freeze_to)
    before = copy.deepcopy(s.learn.model)
    run_phase(s.learn, unfrozen, [SeedEpochs(s.cfg, "unfrozen"), answers])
    return before


@pytest.mark.parametrize("parts", [1, 3])
def test_each_image_is_answered_by_the_head_that_does_not_know_it(folder, parts):
    s, seen = start(folder, **{"train.accumulate": parts}), Answers()
    trained(s, seen)
    heads, labels = s.learn.out_of_fold.heads, [sample.label for sample in s.data.dataset.train]
    fold = heads.fold[seen.numbers]
    expected = torch.stack([F.linear(x, heads.weight[k], heads.bias[k]) for x, k in zip(seen.given, fold, strict=True)])
    torch.testing.assert_close(seen.logits, expected, rtol=1e-4, atol=1e-4)
    assert len(fold.unique()) == len(heads.weight) == 5
    # And the numbers are those of the images that were read.
    assert [s.learn.dls.vocab[y] for y in seen.targets] == [labels[i] for i in seen.numbers]


def test_the_body_learns_and_the_head_stays(folder):
    s = start(folder)
    before = trained(s, Answers())
    (old_body, old_head), (body, head) = before.children(), s.learn.model.children()
    assert torch.equal(old_head[-1].weight, head[-1].weight) and torch.equal(old_head[-1].bias, head[-1].bias)
    assert not torch.equal(old_body[7][0].conv1.weight, body[7][0].conv1.weight)
    assert not head[-1]._forward_hooks


def test_without_it_the_head_trains_along(folder):
    s = start(folder, **{"train.out_of_fold": False})
    before = trained(s, Answers())
    assert not torch.equal(before[1][-1].weight, s.learn.model[1][-1].weight)


def test_validation_is_answered_by_the_head_itself(folder):
    s = start(folder)
    trained(s, Answers())
    network, last = features.before_last(s.learn.model)
    network.eval()
    with torch.no_grad():
        own = torch.cat([last(network(x)) for x, _ in s.learn.dls.valid])
    targets = torch.cat([y for _, y in s.learn.dls.valid])
    loss = F.cross_entropy(own.as_subclass(torch.Tensor), targets.as_subclass(torch.Tensor)).item()
    assert s.learn.recorder.values[-1][1] == pytest.approx(loss, rel=1e-4)


def test_the_loss_in_training_begins_at_that_of_the_cross_validation(folder):
    """The whole head, which knows the images, has a far smaller one."""
    s = start(folder, **{f"augment.{key}": value for key, value in UNCHANGED.items()})
    seen = Answers()
    trained(s, seen, rate=1e-12)
    with torch.no_grad():
        whole = F.cross_entropy(s.learn.model[1][-1](seen.given), seen.targets).item()
    assert F.cross_entropy(seen.logits, seen.targets).item() > 2 * whole


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train.out_of_fold": False}, "train.out_of_fold: false"),
        ({"augment.mixup": 0.4}, "augment.mixup"),
        ({"augment.cutmix": 1.0}, "augment.cutmix"),
        ({"train.freeze_to": -1}, "train.freeze_to"),
    ],
)
def test_where_it_cannot_help_the_head_trains_and_the_user_is_told(folder, changes, reason):
    s = start(folder, **changes)
    assert not hasattr(s.learn, "out_of_fold")
    (told,) = [line for line in s.decisions if "answered by the head itself" in line]
    assert reason in told


def test_many_images_need_none(folder, monkeypatch):
    from imgclf.training import outoffold

    monkeypatch.setattr(outoffold, "MOST_KEPT", 10)
    s = start(folder)
    assert not hasattr(s.learn, "out_of_fold")
    assert any("more than 10 images" in line for line in s.decisions)


def test_a_recipe_without_the_probe_knows_nothing_of_it(folder):
    s = start(folder, **{"train.recipe": "book"})
    assert not hasattr(s.learn, "out_of_fold") and not any("answered" in line for line in s.decisions)


@pytest.mark.parametrize("out_of_fold", [True, False])
def test_the_plan_counts_the_head_only_where_it_trains(folder, out_of_fold):
    s = start(folder, **{"train.out_of_fold": out_of_fold})
    probe, unfrozen = s.plan(1e-4).phases
    first, head, everything = (
        sum(p.numel() for p in m.parameters()) for m in (s.learn.model[0][:6], s.learn.model[1], s.learn.model)
    )
    before = learner.parameters(s.learn, unfrozen)
    assert before == (everything - first - head * out_of_fold, everything)
    trained(s, Callback())
    assert sum(p.numel() for p in s.learn.model.parameters() if p.requires_grad) == before[0]
    assert learner.parameters(s.learn, probe)[0] >= head
