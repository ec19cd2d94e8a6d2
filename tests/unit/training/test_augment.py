"""MixUp, CutMix and clipping: what is asked for is what acts, and what cannot go together is refused."""

import pytest
import torch
from fastai.vision.all import DataLoader, DataLoaders, Learner, noop
from torch import nn

from imgclf.errors import ConfigError
from imgclf.training import augment
from imgclf.training.losses import SINGLE_LABEL, Knobs

N, C, SIDE = 8, 3, 6


def learner(cfg, loss="cross_entropy") -> Learner:
    torch.manual_seed(0)
    rows = [(torch.rand(3, SIDE, SIDE), torch.tensor(i % C)) for i in range(2 * N)]
    dls = DataLoaders(*[DataLoader(rows, bs=N) for _ in range(2)])
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, C))
    learn = Learner(dls, net, loss_func=SINGLE_LABEL[loss](Knobs(0.1, 2.0), None), cbs=augment.callbacks(cfg))
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    return learn


def names(cfg):
    return [type(cb).__name__ for cb in augment.callbacks(cfg)]


def test_by_default_there_are_none(make_config):
    assert names(make_config()) == []


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [("augment.mixup", 0.4, "MixUp"), ("augment.cutmix", 1.0, "CutMix"), ("train.clip", 0.5, "GradientClip")],
)
def test_each_key_is_fastais_callback(key, value, name, make_config):
    assert names(make_config(**{key: value})) == [name]


@pytest.mark.parametrize("loss", SINGLE_LABEL)
@pytest.mark.parametrize("key", ["augment.mixup", "augment.cutmix"])
def test_mixing_works_with_every_loss_and_gives_it_back(loss, key, make_config):
    plain, mixed = learner(make_config(), loss), learner(make_config(**{key: 1.0}), loss)
    before = mixed.loss_func
    for learn in (plain, mixed):
        torch.manual_seed(1)
        learn.fit(1, lr=1e-2)
    assert mixed.loss_func is before
    assert all(torch.isfinite(loss) for loss in mixed.recorder.losses)
    assert float(mixed.recorder.losses[0]) != float(plain.recorder.losses[0])


def test_clipping_limits_the_norm_of_the_gradients(make_config):
    norms = {}
    for clip in (None, 1e-3):
        learn = learner(make_config(**({} if clip is None else {"train.clip": clip})))
        stepped, seen = learn.opt_func, []

        def watched(*args, stepped=stepped, seen=seen, learn=learn, **more):
            made, step = stepped(*args, **more), None
            step = made.step

            def measured(*a, **k):
                seen.append(torch.stack([p.grad.norm() for p in learn.model.parameters()]).norm())
                return step(*a, **k)

            made.step = measured
            return made

        learn.opt_func = watched
        learn.fit(1, lr=1e-2)
        norms[clip] = float(max(seen))
    assert norms[None] > 1e-2
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"augment.mixup": 0.4, "augment.cutmix": 1.0}, "cannot be used together"),
        ({"augment.erase_count": 2}, "nothing is erased"),
        ({"augment.mixup": -1.0}, "augment.mixup"),
        ({"augment.erase": 1.5}, "augment.erase"),
        ({"augment.min_zoom": 1.5}, "augment.min_zoom"),
        ({"augment.pad_mode": "mirror"}, "augment.pad_mode"),
        ({"train.clip": 0.0}, "train.clip"),
    ],
)
def test_what_cannot_be_is_refused(settings, said, make_config):
    with pytest.raises(ConfigError) as caught:
        make_config(**settings)
    assert said in str(caught.value)
