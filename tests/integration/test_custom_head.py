"""A head made by the user's own code: never run unasked, trained, bundled, loaded and exported when trusted."""

import json
import sys

import numpy as np
import pytest
import shapes
import torch
from support import run_here

from imgclf.config import load_config
from imgclf.console import Terminal
from imgclf.errors import ConfigError, ModelError
from imgclf.shipping import exporters, inference, layers, verify
from imgclf.training import network
from imgclf.workflow import session

HEADS = '''
from pathlib import Path
import torch
from torch import nn

Path("ran").touch()  # shows whether the code was run

class Attention(nn.Module):
    """A weighted mean of the feature map, and a linear layer."""
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.score, self.out = nn.Conv2d(n_features, 1, 1), nn.Linear(n_features, n_classes)
    def forward(self, x):
        weights = self.score(x).flatten(2).softmax(-1)
        return self.out((x.flatten(2) * weights).sum(-1))

def attention(n_features, n_classes):
    return Attention(n_features, n_classes)

def plain(n_features, n_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_features, n_classes))

class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)

def doubled(n_features, n_classes):
    return Doubled(*plain(n_features, n_classes))

def wrong(n_features, n_classes):
    return plain(n_features, n_classes + 1)

def unpooled(n_features, n_classes):
    return nn.Linear(n_features, n_classes)

def nothing(n_features, n_classes):
    return None

def failing(n_features, n_classes):
    raise ZeroDivisionError("a mistake in it")
'''

SMALL = [
    *("-a", "resnet18", "-e", "1", "--size", "32", "--presize", "40", "-b", "8", "--lr", "0.003", "--device", "cpu"),
    *("--set", "model.pretrained=false", "--set", "train.precision=fp32", "--set", "data.workers=0"),
    *("--set", "model.cut=-4"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return shapes.write(tmp_path_factory.mktemp("custom") / "images", per_class=8)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working folder with the code in it."""
    (tmp_path / "own_heads.py").write_text(HEADS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_heads", raising=False)
    yield tmp_path
    sys.modules.pop("own_heads", None)


def start(images, name):
    settings = {
        "data.path": str(images), "data.batch_size": 8, "data.workers": 0, "augment.presize": 40, "augment.size": 32,
        "model.arch": "resnet18", "model.pretrained": False, "train.precision": "fp32", "train.device": "cpu",
    }  # fmt: skip
    return session.start(load_config(**settings, **{"model.custom_head": f"own_heads:{name}"}), Terminal(quiet=True))


@pytest.mark.parametrize("command", ["train", "lrfind", "compare", "dry-run"])
def test_without_trust_nothing_is_run_and_no_run_is_left(command, images, work):
    more = {"compare": ["--losses", "cross_entropy,focal"], "dry-run": ["--dry-run"]}.get(command, [])
    name = "train" if command == "dry-run" else command
    done = run_here(name, "-d", images, *SMALL, "--set", "model.custom_head=own_heads:attention", *more, cwd=work)
    assert done.returncode == 4
    assert "own_heads:attention" in done.stderr and "--trust" in done.stderr
    assert not (work / "ran").exists() and not (work / "runs").exists()


def test_a_trusted_head_is_trained_loaded_and_exported(images, work):
    head = ["--set", "model.custom_head=own_heads:attention"]
    done = run_here("train", "-d", images, *SMALL, *head, "--trust", "--name", "run", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    [record] = json.loads((work / "runs/run/model.json").read_text())["head"]
    assert record == {"layer": "Code", "factory": "own_heads:attention", "features": 128, "outputs": 3}
    (work / "ran").unlink()
    sys.modules.pop("own_heads")
    done = run_here("predict", "run", images, cwd=work)
    assert (done.returncode, "own_heads:attention" in done.stderr, "--trust" in done.stderr) == (4, True, True)
    assert not (work / "ran").exists()
    done = run_here("evaluate", "run", "--trust", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    done = run_here("export", "run", "-f", "safetensors", "-f", "pkl", "--images", 4, "--trust", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    assert [f["parity"]["passed"] for f in done.json["files"]] == [True, True]
    file = work / "runs/run/export/model.safetensors"
    assert run_here("verify", file, cwd=work).returncode == 4
    assert run_here("verify", file, "--trust", cwd=work).returncode == 0


def test_onnx_holds_the_head_and_needs_no_trust(images, work):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from imgclf.runs import Run
    from imgclf.workflow import keeping

    s = start(images, "attention")
    keeping.bundle_writer(Run(work), s, 1e-3)(s.learn)
    file = exporters.export(work, "onnx", work / "m.onnx", trust=True)
    paths = [s.data.dataset.root / sample.path for sample in s.data.dataset.valid]
    assert verify.check(file, "onnx", work, paths, trust=True).passed
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = inference.load(work, trust=True).probs(pixels)
    np.testing.assert_allclose(inference.load(file).probs(pixels), expected, atol=1e-5)


def test_a_head_of_known_layers_is_data_and_needs_no_code_afterwards(images, work):
    s = start(images, "plain")
    assert [record["layer"] for record in layers.describe(s.learn.model[1])] == [
        "AdaptiveAvgPool2d", "Flatten", "Linear",
    ]  # fmt: skip
    [record] = layers.describe(start(images, "doubled").learn.model[1])  # not the sum of its layers
    assert record["layer"] == "Code"


@pytest.mark.parametrize(
    ("name", "said"),
    [("wrong", r"shape \(2, 4\), not \(2, 3\)"), ("unpooled", "cannot take what the body gives"),
     ("nothing", "gives a NoneType"), ("failing", "ZeroDivisionError: a mistake in it"),
     ("missing", "AttributeError")],
)  # fmt: skip
def test_what_is_no_head_is_refused_before_training(name, said, images, work):
    with pytest.raises(ModelError, match=said):
        start(images, name)


def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_for(work):
    with pytest.raises(ModelError, match="No module named 'no_such_module'") as e:
        network._made_by("no_such_module:f", 512, 2)
    assert str(work) in e.value.hint


@pytest.mark.parametrize("path", ["heads.py", "heads", "heads:", ":f", "a/b:f", "heads:f()"])
def test_what_is_no_import_path_is_a_mistake_in_the_configuration(path):
    with pytest.raises(ConfigError, match=r"model\.custom_head"):
        load_config(**{"data.path": ".", "model.custom_head": path})


def test_keys_of_the_other_head_are_refused_beside_it():
    with pytest.raises(ConfigError, match=r"model\.lin_ftrs, model\.y_range: without effect"):
        load_config(**{"data.path": ".", "model.custom_head": "a:b", "model.lin_ftrs": [], "model.y_range": [0, 1]})


@pytest.mark.parametrize(
    "change",
    [{"factory": "os:system"}, {"factory": "not a path"}, {"factory": 3}, {"features": -1}, {"features": "ls"},
     {"more": 1}],
)  # fmt: skip
def test_a_hostile_description_runs_nothing(change, monkeypatch):
    monkeypatch.setattr("imgclf.foreign.call", lambda *_: pytest.fail("code was run"))
    with pytest.raises(ModelError):
        layers.build([{"layer": "Code", "factory": "a:b", "features": 1, "outputs": 2, **change}])
    with torch.device("cpu"), pytest.raises(ModelError):  # nor as one layer among others
        layers.build([{"layer": "Flatten"}, {"layer": "Code", "factory": "a:b", "features": 1, "outputs": 2}])
