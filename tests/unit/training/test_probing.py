import pytest
import shapes
import torch
from fastai.vision.all import CrossEntropyLossFlat

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data import folds
from imgclf.errors import RunError
from imgclf.training import features, logistic, looking, probe, probing
from imgclf.training.fit import run_phase
from imgclf.training.seeding import SeedEpochs
from imgclf.workflow import session

SMALL = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 36, "augment.size": 32, "model.arch": "resnet18",
    "train.precision": "fp32", "train.device": "cpu", "train.epochs": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("probing"), per_class=8)


def start(folder, said=None, **changes):
    settings = {**SMALL, "data.path": str(folder / "images"), "model.weights": str(folder / "weights.pth"), **changes}
    s = session.start(load_config("folder", **settings), Terminal(quiet=True))
    if said is not None:
        s.learn.probe.found = said.append
    return s


def probed(s):
    """The session after its probe; the features and targets it was fitted to; its last layer."""
    network, last = features.before_last(s.learn.model)
    s.first_phase(s.plan(4e-4).phases[0])
    batches = list(s.learn.dls.test_dl(list(s.data.dataset.train), with_labels=True))
    network.eval()
    with torch.no_grad():
        x = torch.cat([network(images) for images, _ in batches])
    return x.as_subclass(torch.Tensor), torch.cat([y for _, y in batches]).as_subclass(torch.Tensor), last


def test_head_is_fitted_to_the_training_images_unaugmented(folder):
    said = []
    s = start(folder, said)
    x, y, last = probed(s)
    expected = probe.fit(x, y, len(s.data.dataset.classes))
    torch.testing.assert_close(last.weight, expected.weight)
    torch.testing.assert_close(last.bias, expected.bias)
    assert said == [
        f"probe: {len(x)} images, 512 features, shrinkage {expected.shrinkage:g}; cross-validated error "
        f"{expected.error_rate:.3f}, loss {expected.loss:.3f}"
    ]
    train_loss, valid_loss = s.learn.recorder.values[-1][:2]
    assert train_loss == pytest.approx(expected.loss, rel=1e-4)
    assert valid_loss > 0


def test_logistic_regression_is_told_and_judged_and_the_body_begins_at_the_rule(folder, monkeypatch):
    """Eight images a class are too few to be sure of it, so that here it takes no more than it is."""
    monkeypatch.setattr(logistic, "SURE", -1e9)
    monkeypatch.setattr(logistic, "PULLS", (30.0,))
    said = []
    s = start(folder, said)
    x, y, last = probed(s)
    rule = probe.fit(x, y, len(s.data.dataset.classes))
    expected = logistic.refine(rule, x, y)
    assert expected.pull == 30 and not torch.equal(expected.weight, rule.weight)
    torch.testing.assert_close(last.weight, expected.weight)
    torch.testing.assert_close(last.bias, expected.bias)
    assert f"shrinkage {rule.shrinkage:g}, then logistic regression held to it by 30; " in said[0]
    assert s.learn.recorder.values[-1][0] == pytest.approx(expected.loss, rel=1e-4)
    taken = s.learn.out_of_fold.state()
    s.learn.out_of_fold.restore({})
    s.learn.out_of_fold.restore(taken)  # as a resumed run does
    unfrozen = s.plan(4e-4).phases[1]
    s.learn.freeze_to(unfrozen.freeze_to)
    run_phase(s.learn, unfrozen, [SeedEpochs(s.cfg, "unfrozen")])
    torch.testing.assert_close(last.weight, rule.weight)
    torch.testing.assert_close(last.bias, rule.bias)
    torch.testing.assert_close(s.learn.out_of_fold.heads.weight, rule.others.weight)


def test_images_of_a_group_are_held_out_together(folder):
    """Every third image of the folder is of one group, in all classes."""
    said = []
    s = start(folder, said, **{"data.group_by": r"(\d)\.png$"})
    x, y, last = probed(s)
    groups = folds.named(s.data.dataset.train)
    names = [sample.group for sample in s.data.dataset.train]
    expected = probe.fit(x, y, len(s.data.dataset.classes), groups)
    torch.testing.assert_close(last.weight, expected.weight)
    assert said[0].startswith(f"probe: {len(x)} images in {len(set(names))} groups, 512 features")
    fold = s.learn.out_of_fold.heads.fold.tolist()
    assert len(set(zip(names, fold, strict=True))) == len(set(names)) > 1
    looks = looking.Look(x, y, 3, None, groups)
    assert looks.loss == pytest.approx(expected.loss)


@pytest.mark.parametrize("error", [RuntimeError("you tried to allocate 9 bytes. not enough memory"), MemoryError()])
def test_too_many_classes_and_images_for_the_memory_are_told_with_a_way_that_needs_less(monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(probe, "fit", full)
    with pytest.raises(RunError, match="a head of 2 classes from 3 images") as caught:
        probing._fit(torch.zeros(3, 4), torch.tensor([0, 1, 1]), 2, None)
    assert "--freeze-epochs 1" in caught.value.hint


def test_features_are_kept_for_the_judging_without_another_pass(folder):
    s = start(folder)
    body = torch.nn.Sequential(s.learn.model[0], torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    probed(s)
    kept, numbers = s.learn.probe.kept
    paths = [sample.path for sample in s.data.dataset.train]
    assert [s.learn.dls.train.items[i].path for i in numbers] == paths
    loaders = s.learn.dls.test_dl(list(s.data.dataset.train)), s.learn.dls.valid
    with torch.no_grad():
        train, valid = (torch.cat([body(batch[0]) for batch in dl]).as_subclass(torch.Tensor) for dl in loaders)
    torch.testing.assert_close(torch.tensor(kept), train, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.tensor(s.learn.probe.judged), valid, rtol=1e-4, atol=1e-4)
    assert not s.learn.model[0]._forward_hooks


def test_of_very_many_images_the_same_part_is_kept():
    chosen = features.some(50, most=20)
    assert len(set(chosen.tolist())) == 20
    assert chosen.tolist() == sorted(chosen.tolist()) == features.some(50, most=20).tolist()
    assert features.some(7).tolist() == list(range(7))


def test_a_batch_begun_again_for_want_of_memory_spoils_what_was_overheard(folder):
    s = start(folder)
    forward, failed = s.learn.model.forward, []

    def once_too_large(x):
        found = forward(x)
        if not s.learn.training and not failed:
            failed.append(True)
            raise MemoryError("out of memory")
        return found

    s.learn.model.forward = once_too_large
    s.first_phase(s.plan(4e-4).phases[0])
    assert failed
    assert s.learn.heard.said is s.learn.probe.judged is None


@pytest.mark.parametrize(("first_bn", "mean"), [("auto", 0.0), (False, None)])
def test_features_are_normalised_unless_told_otherwise(folder, first_bn, mean):
    x, _, _ = probed(start(folder, **{"model.first_bn": first_bn}))
    means, variances = x.mean(1), x.var(1, correction=0)
    if mean is None:
        assert means.min() > 0.1  # averages after a ReLU
    else:
        torch.testing.assert_close(means, torch.zeros(len(x)), atol=1e-4, rtol=0)
        torch.testing.assert_close(variances, torch.ones(len(x)), atol=1e-2, rtol=0)


def test_weights_of_classes_move_the_bias(folder):
    plain, weighted = (probed(start(folder, **more))[2] for more in ({}, {"train.class_weights": {"disc": 5.0}}))
    moved = (weighted.bias - plain.bias).exp()
    torch.testing.assert_close(moved, torch.tensor([5.0, 1.0, 1.0])[: len(moved)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("freeze_bn", "same"), [("auto", True), (True, True), (False, False)])
def test_batchnorm_keeps_its_statistics_after_the_probe_unless_told_otherwise(folder, freeze_bn, same):
    s = start(folder, **{"train.freeze_bn": freeze_bn})
    bn = s.learn.model[0][7][0].bn1
    statistics, weight = bn.running_mean.clone(), bn.weight.detach().clone()
    for phase in s.plan(1e-3).phases:
        s.learn.freeze_to(phase.freeze_to)
        run_phase(s.learn, phase, [])
    assert torch.equal(bn.running_mean, statistics) is same
    assert not torch.equal(bn.weight, weight)  # it trains either way


@pytest.mark.parametrize(
    "changes",
    [{"model.lin_ftrs": [16]}, {"model.first_bn": True}, {"model.bn_final": True}, {"model.y_range": [-5.0, 5.0]},
     {"train.recipe": "book"}, {"train.freeze_epochs": 1}, {"model.pretrained": False, "model.weights": None}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_no_probe_where_something_else_was_asked_for(folder, changes):
    s = start(folder, **changes)
    assert not s.probe
    assert "probe" not in [phase.name for phase in s.plan(1e-3).phases]
    assert not any(type(cb).__name__ == "KeepStatistics" for cb in s.learn.cbs)


def test_pooling_and_dropout_of_ones_own_go_with_the_probe(folder):
    s = start(folder, **{"model.concat_pool": True, "model.ps": 0.3})
    x, _, last = probed(s)
    assert x.shape[1] == last.in_features == 1024
    assert isinstance(s.learn.loss_func, CrossEntropyLossFlat)
