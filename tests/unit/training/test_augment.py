"""MixUp, CutMix and clipping: what is asked for is what acts, and what cannot go together is refused."""

import pytest
import torch
from fastai.vision.all import Callback, DataLoader, DataLoaders, Learner, TensorMultiCategory, noop
from torch import nn

from imgclf.errors import ConfigError
from imgclf.training import augment
from imgclf.training.losses import MULTI_LABEL, SINGLE_LABEL, Knobs

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


class Mixed(Callback):
    """A training batch, before or after it was mixed."""

    run_valid = False

    def __init__(self, order):
        self.order, self.x0, self.y0 = order, None, None

    def before_batch(self):
        self.x0, self.y0 = self.x.clone(), self.y.clone()


def several_labels(cfg, loss, weight=None) -> tuple[Learner, Mixed, Mixed]:
    torch.manual_seed(0)
    rows = [(torch.rand(3, SIDE, SIDE), TensorMultiCategory((torch.rand(C) > 0.5).float())) for _ in range(2 * N)]
    dls = DataLoaders(*[DataLoader(rows, bs=N) for _ in range(2)])
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, C))
    before = Mixed(-90)
    learn = Learner(dls, net, loss_func=MULTI_LABEL[loss](Knobs(0.1, 2.0), weight), cbs=augment.callbacks(cfg))
    learn.add_cbs([before, type("After", (Mixed,), {})(90)])  # a learner keeps one callback of a name
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    torch.manual_seed(1)
    learn.fit(1, lr=0.0)
    return learn, before, learn.after


def partner(x0, x, lam, key, n) -> int:
    """Which image of the batch image ``n`` was mixed with."""
    if torch.equal(x[n], x0[n]):  # the shuffle left it where it was
        return n
    for other in range(N):
        if key == "augment.mixup":
            found = torch.allclose(x[n], torch.lerp(x0[other], x0[n], lam[n]), atol=1e-6)
        else:  # every pixel is from one of the two, and the share of its own is lam
            own, theirs = (x[n] == x0[n]).all(0), (x[n] == x0[other]).all(0)
            found = bool((own | theirs).all()) and abs(float(own.float().mean()) - float(lam[n])) < 1e-6
        if found:
            return other
    raise AssertionError(f"image {n} is a mixture of no two images")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", MULTI_LABEL)
@pytest.mark.parametrize("key", ["augment.mixup", "augment.cutmix"])
def test_images_with_several_labels_are_mixed_with_their_labels_and_losses(loss, key, weighted, make_config):
    weight = torch.tensor([1.0, 3.0, 0.5]) if weighted else None
    learn, before, after = several_labels(make_config(**{key: 1.0}), loss, weight)
    assert not hasattr(learn.loss_func, "y_int") or not learn.loss_func.y_int  # the targets are mixed
    mix = next(cb for cb in learn.cbs if type(cb).__name__ in ("MixUp", "CutMix"))
    lam = torch.as_tensor(mix.lam, dtype=torch.float32).expand(N)
    (x0, y0), (x, y) = (tuple(torch.Tensor(t) for t in (seen.x0, seen.y0)) for seen in (before, after))
    assert (x != x0).any()
    if key == "augment.mixup":
        assert ((lam >= 0.5) & (lam <= 1)).all()  # the image itself is the larger part
    plain = MULTI_LABEL[loss](Knobs(0.1, 2.0), weight)
    logits, total = learn.model(x).detach(), 0.0
    for n in range(N):
        other = partner(x0, x, lam, key, n)
        assert torch.allclose(y[n], torch.lerp(y0[other], y0[n], lam[n]), atol=1e-6)
        own, theirs = (float(plain(logits[n : n + 1], TensorMultiCategory(t[None]))) for t in (y0[n], y0[other]))
        total += float(torch.lerp(torch.tensor(theirs), torch.tensor(own), lam[n])) / N
    # The loss of the mixture is the mixture of the losses.
    assert float(plain(logits, TensorMultiCategory(y))) == pytest.approx(total, rel=1e-4)


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
