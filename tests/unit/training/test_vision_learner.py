"""Every parameter of fastai's ``vision_learner`` is a key, and every key changes what is built."""

import inspect

import pytest
import shapes
import torch
from fastai.vision.all import Learner, create_vision_model, vision_learner
from torchvision.models import resnet18

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data import loaders
from imgclf.data.prepare import prepare
from imgclf.errors import ConfigError
from imgclf.schema import leaves
from imgclf.training import archs, devices, learner, scores, weights
from imgclf.training.weights import Weights

# Each parameter of vision_learner, create_vision_model and Learner: the key that sets it.
KEYS = {
    "arch": "model.arch", "normalize": "model.normalize", "pretrained": "model.pretrained", "weights": "model.weights",
    "loss_func": "train.loss", "opt_func": "train.opt", "lr": "train.lr", "metrics": "train.metrics", "wd": "train.wd",
    "wd_bn_bias": "train.wd_bn_bias", "train_bn": "train.train_bn", "moms": "train.moms", "cut": "model.cut",
    "init": "model.init", "concat_pool": "model.concat_pool", "pool": "model.pool", "lin_ftrs": "model.lin_ftrs",
    "ps": "model.ps", "first_bn": "model.first_bn", "bn_final": "model.bn_final", "lin_first": "model.lin_first",
    "y_range": "model.y_range", "custom_head": "model.custom_head", "n_in": "data.channels",
}  # fmt: skip
# And those that have none, with the reason.
NO_KEY = {
    "dls": "made from the keys under data and augment",
    "model": "made from the keys under model",
    "n_out": "the number of classes found in the data",
    "splitter": "follows from the architecture and model.cut",
    "cbs": "what the keys under augment and train ask for",
    "default_cbs": "always: without them nothing is trained or recorded",
    "path": "the run folder; fastai writes nothing itself",
    "model_dir": "the run folder; fastai writes nothing itself",
    "kwargs": "passed on to the other functions looked at here",
}


def parameters():
    functions = (vision_learner, create_vision_model, Learner.__init__)
    return set().union(*(inspect.signature(f).parameters for f in functions)) - {"self"}


def test_no_parameter_of_fastai_is_lost():
    assert parameters() - set(KEYS) - set(NO_KEY) == set()
    assert set(KEYS) & set(NO_KEY) == set()


def test_the_keys_exist_and_the_parameters_are_fastais():
    assert [key for key in KEYS.values() if key not in leaves()] == []
    assert set(KEYS) - parameters() == set()


BASE = {
    "data.batch_size": 8, "data.workers": 0, "augment.presize": 40, "augment.size": 32, "model.arch": "resnet18",
    "model.pretrained": False, "train.precision": "fp32", "train.device": "cpu", "train.lr": 1e-3,
    "train.recipe": "book",  # the head is fastai's then
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.write_with_weights(tmp_path_factory.mktemp("vision_learner"), per_class=10)


@pytest.fixture(scope="module")
def data(folder):
    cfg = load_config("folder", **BASE, **{"data.path": str(folder / "images")})
    return prepare(cfg, Terminal(quiet=True))


def build(folder, data, **changes):
    """The learner of a configuration, and its loaders."""
    settings = {**BASE, "data.path": str(folder / "images"), **changes}
    cfg = load_config("folder", **settings)
    found = weights.resolve(cfg, arch := archs.resolve(cfg))
    made = loaders.build(cfg, data.dataset, torch.device("cpu"), found.pretrained)
    torch.manual_seed(0)
    chosen = scores.metrics(cfg, len(data.dataset.classes))
    return learner.build(cfg, made, arch, found, chosen, devices.resolve(cfg))[0], made


def facts(learn, made):
    """What is built, as text and numbers that differ where it differs."""
    first, head = next(learn.model.parameters()), list(learn.model[1].parameters())
    learn.create_opt()
    return {
        "model": str(learn.model),
        "first weights": float(first.detach().abs().sum()),
        "head": [round(float(p.detach().abs().sum()), 4) for p in head if p.dim() > 1],
        "loss": str(learn.loss_func),
        "metrics": [m.name for m in learn.metrics],
        "opt": [getattr(c, "func", c).__name__ for c in learn.opt.cbs],
        "hypers": [dict(h) for h in learn.opt.hypers],
        "settings": (learn.wd, learn.wd_bn_bias, learn.train_bn, learn.moms),
        "no decay": [s.get("do_wd", True) for s in learn.opt.state.values()],
        "frozen": [p.requires_grad for p in learn.model.parameters()],
        "preprocess": made.preprocess,
        "groups": [len(g) for g in learn.splitter(learn.model)],
    }


CHANGED = {
    "model.arch": ("resnet34", "model"),
    "model.normalize": (False, "preprocess"),
    "model.weights": ("weights.pth", "first weights"),
    "train.loss": ("focal", "loss"),
    "train.opt": ("sgd", "opt"),
    "train.metrics": (["accuracy"], "metrics"),
    "train.wd": (0.5, "settings"),
    "train.wd_bn_bias": (True, "settings"),
    "train.train_bn": (False, "settings"),
    "train.moms": ([0.9, 0.8, 0.9], "settings"),
    "model.cut": (-3, "model"),
    "model.init": ("xavier_uniform", "head"),
    "model.concat_pool": (False, "model"),
    "model.lin_ftrs": ([64, 32], "model"),
    "model.ps": (0.1, "model"),
    "model.first_bn": (False, "model"),
    "model.bn_final": (True, "model"),
    "model.lin_first": (True, "model"),
    "model.y_range": ([-8.0, 8.0], "model"),
    "data.channels": (1, "model"),
}
ELSEWHERE = {
    "model.pretrained": "test_weights.py",
    "model.custom_head": "test_custom_head.py",
    "model.pool": "test_a_head_without_pooling_is_refused",
    "train.lr": "not of the learner but of its plan: test_plan.py",
}


@pytest.fixture(scope="module")
def usual(folder, data):
    return facts(*build(folder, data))


@pytest.mark.parametrize("key", list(CHANGED))
def test_each_key_changes_what_is_built(key, folder, data, usual):
    value, where = CHANGED[key]
    if key == "model.weights":
        value = str(folder / value)
    found = facts(*build(folder, data, **{key: value}))
    assert found[where] != usual[where]


def test_every_key_is_tried():
    assert set(CHANGED) | set(ELSEWHERE) == set(KEYS.values())


def test_the_same_is_built_twice(folder, data, usual):
    assert facts(*build(folder, data)) == usual


@pytest.mark.parametrize(("cut", "features", "groups"), [(-2, 512, 3), (8, 512, 3), (-3, 256, 3), (-4, 128, 2)])
def test_cut_says_where_the_body_ends(cut, features, groups, folder, data):
    learn, _ = build(folder, data, **{"model.cut": cut, "model.concat_pool": False})
    assert learn.model[0](torch.zeros(2, 3, 64, 64)).shape[1] == features
    assert len(learn.splitter(learn.model)) == groups
    assert learn.model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, len(data.dataset.classes))


def test_y_range_bounds_every_logit(folder, data):
    learn, _ = build(folder, data, **{"model.y_range": [-2.0, 3.0]})
    logits = learn.model.eval()(1e4 * torch.randn(4, 3, 32, 32))
    assert -2 <= logits.min() < logits.max() <= 3


def test_a_head_without_pooling_is_refused(folder, data):
    with pytest.raises(ConfigError, match=r"model\.pool"):
        build(folder, data, **{"model.pool": False})


@pytest.mark.parametrize("settings", [{}, {"concat_pool": False, "lin_ftrs": [8], "ps": 0.2, "y_range": (-5, 5)}])
def test_the_network_is_bit_for_bit_that_of_vision_learner(folder, data, settings):
    """With the same random state; fastai's own way is the reference."""
    changes = {f"model.{k}": list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
    ours, made = build(folder, data, **changes, **{"model.weights": str(folder / "weights.pth")})
    torch.manual_seed(0)
    theirs = vision_learner(
        made.dls, resnet18, pretrained=False, normalize=False, n_out=len(made.dls.vocab), **settings
    )
    head = {k: v for k, v in theirs.model.state_dict().items() if k.startswith("1.")}
    assert head.keys() == {k for k in ours.model.state_dict() if k.startswith("1.")}
    assert all(torch.equal(ours.model.state_dict()[k], v) for k, v in head.items())
    assert Weights(None, "").pretrained is False


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, ["AdaptiveAvgPool2d", "Flatten", "LayerNorm", "Linear"]),
        ({"model.ps": 0.2}, ["AdaptiveAvgPool2d", "Flatten", "Dropout", "LayerNorm", "Linear"]),
        ({"model.lin_ftrs": [8]}, None),
        ({"train.schedule": "one_cycle"}, None),
        ({"train.freeze_epochs": 1}, None),
    ],
    ids=str,
)  # fmt: skip
def test_from_random_weights_the_recipes_head_is_one_linear_layer(folder, data, settings, layers):
    """Unless the user's words say otherwise: then it is fastai's, whose last but two is a second BatchNorm."""
    ours, _ = build(folder, data, **{"train.recipe": "auto"}, **settings)
    found = [type(layer).__name__ for layer in ours.model[1]]
    assert found == layers if layers else found.count("BatchNorm1d") == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("model.cut", 0, "no body would be left"), ("model.cut", 10, "less than or equal to 9"),
     ("model.y_range", [3.0, -3.0], "low below high"), ("model.y_range", [1.0], "field required")],
)  # fmt: skip
def test_what_makes_no_network_is_refused(key, value, said):
    with pytest.raises(ConfigError) as e:
        load_config("folder", **{"data.path": ".", key: value})
    assert key in e.value.message
    assert said in e.value.message.lower()
