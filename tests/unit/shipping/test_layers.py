import json

import pytest
import torch
from fastai.layers import Flatten, LinBnDrop
from torch import nn

from imgclf.errors import ModelError
from imgclf.networks import bodies
from imgclf.shipping import layers

HEADS = [
    {},
    {"lin_ftrs": []},
    {"lin_ftrs": [64, 32], "ps": 0.25},
    {"bn_final": True},
    {"concat_pool": False},
    {"lin_first": True},
    {"first_bn": False, "ps": 0.0},
    {"y_range": (-3, 4.5)},
]


@pytest.mark.parametrize("options", HEADS, ids=str)
def test_a_head_survives_the_round_trip_through_json(make_network, options):
    net = make_network(**options)
    description = json.loads(json.dumps(layers.describe(net[1])))
    rebuilt = layers.network("resnet18", description, cut=-4)
    assert list(rebuilt.state_dict()) == list(net.state_dict())
    rebuilt.load_state_dict(net.state_dict(), assign=True)
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt(x), net(x))


def test_nested_blocks_keep_their_names():
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), Flatten(), LinBnDrop(512, 8, p=0.1, act=nn.ReLU()), LinBnDrop(8, 3))
    assert list(layers.build(layers.describe(head)).state_dict()) == list(head.state_dict())
    assert layers.describe(head)[2]["layer"] == "Sequential"


def test_the_head_of_the_recipe_survives_the_round_trip():
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(512, elementwise_affine=False), nn.Linear(512, 3)
    )
    net = nn.Sequential(bodies.body("resnet18"), head).eval()
    rebuilt = layers.network("resnet18", json.loads(json.dumps(layers.describe(head))))
    rebuilt.load_state_dict(net.state_dict(), assign=True)
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt(x), net(x))


@pytest.mark.parametrize("shape", [[], [512, 1], 512, [0], ["512"], None])
def test_a_norm_of_another_shape_is_refused(shape):
    with pytest.raises(ModelError, match="normalized_shape"):
        layers.build([{"layer": "LayerNorm", "normalized_shape": shape, "eps": 1e-5, "elementwise_affine": False}])


def test_building_takes_no_memory():
    head = layers.build([{"layer": "Linear", "in_features": 1 << 20, "out_features": 1 << 20, "bias": True}])
    assert head[0].weight.is_meta  # 4 TB otherwise


def test_every_body_builds_and_has_the_keys_of_torchvision():
    for arch, build in bodies.BUILDERS.items():
        features = 512 if arch in ("resnet18", "resnet34") else 2048
        head = [
            {"layer": "AdaptiveAvgPool2d", "output_size": 1},
            {"layer": "Flatten"},
            {"layer": "Linear", "in_features": features, "out_features": 2, "bias": True},
        ]
        net = layers.network(arch, head)
        assert layers.outputs(net, 64) == 2
        with torch.device("meta"):
            assert len(net[0].state_dict()) == len(build(weights=None).state_dict()) - 2  # its own fc


@pytest.mark.parametrize(
    "layer",
    [nn.Sigmoid(), nn.Conv2d(1, 1, 1), Flatten(full=True), type("Linear", (nn.Linear,), {})(1, 1)],
    ids=lambda m: type(m).__name__,
)
def test_a_layer_that_cannot_be_described_is_named(layer):
    with pytest.raises(ModelError, match=type(layer).__name__):
        layers.describe(nn.Sequential(layer))


def test_a_layer_with_hidden_tensors_is_refused():
    with pytest.raises(ModelError, match="other tensors"):
        layers.describe(nn.Sequential(nn.BatchNorm1d(3, affine=False)))


LINEAR = {"layer": "Linear", "in_features": 4, "out_features": 4, "bias": True}


@pytest.mark.parametrize(
    "description",
    [
        None,
        "Linear",
        [None],
        [{"layer": "os.system", "command": "true"}],
        [{"layer": "__import__"}],
        [{"layer": ["Linear"]}],
        [{**LINEAR, "in_features": 1 << 40}],
        [{**LINEAR, "in_features": -1}],
        [{**LINEAR, "in_features": True}],
        [{**LINEAR, "in_features": 4.0}],
        [{**LINEAR, "device": "cuda"}],
        [{"layer": "Linear", "in_features": 4}],
        [{"layer": "Dropout", "p": float("nan")}],
        [{"layer": "AdaptiveAvgPool2d", "output_size": [100_000, 100_000]}],
        [{"layer": "Sequential", "layers": [{"layer": "Sequential", "layers": [{"layer": "Sequential", "layers": [
            {"layer": "Sequential", "layers": [LINEAR]}]}]}]}],
        [LINEAR] * 65,
        [{"layer": "Sequential", "layers": [LINEAR] * 40}, {"layer": "Sequential", "layers": [LINEAR] * 40}],
    ],
)  # fmt: skip
def test_a_hostile_description_is_refused(description):
    with pytest.raises(ModelError):
        layers.build(description)


def test_an_unknown_architecture_gets_a_suggestion():
    with pytest.raises(ModelError, match="Did you mean 'resnet34'"):
        layers.network("resnet33", [])


@pytest.mark.parametrize("arch", ["../../etc/passwd", "os.system", "", None, ["resnet18"]])
def test_an_architecture_is_a_name_in_a_table_and_nothing_else(arch):
    with pytest.raises(ModelError, match="unknown architecture"):
        layers.network(arch, [])


def test_layers_that_do_not_fit_together_are_noticed():
    with pytest.raises(ModelError, match="do not fit together"):
        layers.outputs(layers.network("resnet18", [LINEAR]), 64)
    with pytest.raises(ModelError, match="shape"):
        layers.outputs(layers.network("resnet18", []), 64)
