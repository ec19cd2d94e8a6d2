"""A network as data: the names of its layers and their sizes, and the layers rebuilt from that.

A model file says which layers it needs and never brings code. Only the layers listed here are built, and they are built
without memory (on torch's "meta" device): a file can take no more memory than it holds weights.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imgclf import foreign
from imgclf.data.colours import luma
from imgclf.errors import ModelError
from imgclf.networks import bodies

MAX_SIZE = 1 << 20  # features of one layer; ImageNet-22k has 21,841 classes
MAX_POOL = 64
MAX_LAYERS = 64  # a head has about ten
MAX_DEPTH = 4


class AdaptiveConcatPool2d(nn.Module):
    """Maximum and average of each feature map, side by side: (N, F, H, W) to (N, 2F, size, size), as fastai's."""

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.size = size
        self.ap = nn.AdaptiveAvgPool2d(size)
        self.mp = nn.AdaptiveMaxPool2d(size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.mp(x), self.ap(x)], 1)


class SigmoidRange(nn.Module):
    """Each logit into ``low`` to ``high`` by a sigmoid, as fastai's."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x) * (self.high - self.low) + self.low


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_SIZE


def _is_one_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 1 and _is_size(value[0])


def _is_pool(value: Any) -> bool:
    sides = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    return all(type(side) is int and 1 <= side <= MAX_POOL for side in sides)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1


def _is_share_or_none(value: Any) -> bool:
    return value is None or _is_share(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


# Each layer: what builds it, and its arguments with what they may be.
LAYERS: dict[str, tuple[Callable[..., nn.Module], dict[str, Callable[[Any], bool]]]] = {
    "Linear": (nn.Linear, {"in_features": _is_size, "out_features": _is_size, "bias": _is_flag}),
    "BatchNorm1d": (nn.BatchNorm1d, {"num_features": _is_size, "eps": _is_share, "momentum": _is_share_or_none}),
    "LayerNorm": (
        nn.LayerNorm,
        {"normalized_shape": _is_one_size, "eps": _is_share, "elementwise_affine": _is_flag},
    ),
    "Dropout": (nn.Dropout, {"p": _is_share}),
    "ReLU": (nn.ReLU, {}),
    "AdaptiveConcatPool2d": (AdaptiveConcatPool2d, {"size": _is_pool}),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, {"output_size": _is_pool}),
    "Flatten": (nn.Flatten, {}),
    "SigmoidRange": (SigmoidRange, {"low": _is_number, "high": _is_number}),
}


def describe(head: nn.Module) -> list[dict[str, Any]]:
    """The layers of a head as JSON-able records, nested as they are: ``[{"layer": "Linear", "in_features": 512, …}]``.

    Raises:
        ModelError: for a layer that is not in ``LAYERS``, or one that holds other tensors than the layer of that name.
    """
    try:
        return _describe(head)
    except ModelError:
        made_by = getattr(head, "made_by", None)  # of a custom head: it takes its code to make it again
        if made_by is None:
            raise
        return [made_by]


def _describe(head: nn.Module) -> list[dict[str, Any]]:
    if not isinstance(head, nn.Sequential) or type(head).forward is not nn.Sequential.forward:
        raise ModelError(f"the head must be a Sequential of layers, this one is a {type(head).__name__}")
    description = [_describe_layer(layer) for layer in head]
    if _shapes(build(description)) != _shapes(head):
        raise ModelError("the head's layers hold other tensors than the plain layers of those names", _allowed())
    return description


def code(description: Any) -> str | None:
    """The import path of the function that makes the head, if it takes code to make it.

    Raises:
        ModelError: for one that nobody could have called.
    """
    record = description[0] if isinstance(description, list) and len(description) == 1 else None
    if not isinstance(record, dict) or record.get("layer") != "Code":
        return None
    numbers = [record.get("features"), record.get("outputs")]
    if record.keys() != {"layer", "factory", "features", "outputs"} or not all(map(_is_size, numbers)):
        raise ModelError(f"the model file names code for the head in a form imgclf does not write: {record!r:.200}")
    return str(record["factory"])


def build(description: Any, device: str = "meta", trust: bool = False) -> Any:
    """The head of a description, by default without memory for its weights: load a state with ``assign=True``.

    A custom head whose code has to make it is made for real, and only if ``trust`` says so.

    Raises:
        ModelError: for anything ``describe`` would not have written.
    """
    if (path := code(description)) is not None:
        foreign.check(path, trust, "the head of this model")
        return foreign.call(path, description[0]["features"], description[0]["outputs"])
    if _count(description) > MAX_LAYERS:
        raise ModelError(f"the model file asks for more than {MAX_LAYERS} layers in the head")
    with torch.device(device):
        return _build_all(description)


def network(
    arch: str, head: Any, channels: int = 3, cut: int | None = None, device: str = "meta", trust: bool = False
) -> nn.Sequential:
    """``Sequential(body, head)`` in evaluation mode: (N, channels, H, W) normalised to (N, C) logits.

    Args:
        cut: As in ``bodies.body``.
        device: ``meta``: without memory for the weights.
        trust: Whether to run the code that a custom head's description may name; else that is refused.

    Raises:
        ModelError: for an unknown architecture or layer.
    """
    with torch.device(device), torch.random.fork_rng(devices=[]):
        return nn.Sequential(bodies.body(arch, channels, cut), build(head, device, trust)).eval()


def model_input(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 RGB (N, H, W, 3) as the network takes it: float32 (N, channels, H, W), grey if it has one, normalised.

    Args:
        mean: And ``std``: (1, channels, 1, 1).
    """
    x = image.permute(0, 3, 1, 2).float()
    if mean.shape[1] == 1:
        x = luma(x[:, 0:1], x[:, 1:2], x[:, 2:3])
    return (x / 255 - mean) / std


def outputs(net: nn.Sequential, size: int, channels: int = 3) -> int:
    """How many classes the network answers with, found by running it: sizes that do not fit together show.

    Raises:
        ModelError: if the layers do not fit together, or the answer is not (N, C).
    """
    try:
        with torch.inference_mode():
            where = next(net.parameters()).device
            shape = tuple(net(torch.zeros(2, channels, size, size, device=where)).shape)
    except (RuntimeError, ValueError) as e:
        raise ModelError(f"the model's layers do not fit together: {e}") from e
    if len(shape) != 2 or shape[0] != 2:
        raise ModelError(f"the model answers 2 images with the shape {shape}, not (2, classes)")
    return int(shape[1])


def _describe_layer(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:  # fastai's LinBnDrop too
        return {"layer": "Sequential", "layers": [_describe_layer(layer) for layer in module]}
    name = type(module).__name__
    # By name, as importing fastai to compare with its classes would cost seconds; `describe` compares the tensors.
    if name not in LAYERS or not type(module).__module__.startswith(("torch.nn.", "fastai.", "imgclf.")):
        raise ModelError(f"the head holds a {name}, which a model file cannot describe", _allowed())
    if getattr(module, "full", False):  # fastai's Flatten(full=True) merges the batch as well
        raise ModelError("the head holds a Flatten over the whole batch, which a model file cannot describe")
    found = {key: _argument(module, key) for key in LAYERS[name][1]}
    _check(name, found)
    return {"layer": name, **found}


def _argument(module: nn.Module, key: str) -> Any:
    value = getattr(module, key)
    if key == "bias":
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def _build_all(description: Any) -> nn.Sequential:
    return nn.Sequential(*[_build_layer(record) for record in description])


def _build_layer(record: dict[str, Any]) -> nn.Module:
    name = record["layer"]
    if name == "Sequential":
        return _build_all(record["layers"])
    arguments = {key: value for key, value in record.items() if key != "layer"}
    _check(name, arguments)
    return LAYERS[name][0](**arguments)


def _check(name: str, arguments: dict[str, Any]) -> None:
    allowed = LAYERS[name][1]
    if arguments.keys() != allowed.keys():
        raise ModelError(f"the layer {name} takes {sorted(allowed)}, the model file has {sorted(map(str, arguments))}")
    for key, value in arguments.items():
        if not allowed[key](value):
            raise ModelError(f"the layer {name} cannot have {key} = {value!r:.80}")


def _count(description: Any, depth: int = 1) -> int:
    """How many layers; all of them are lists and records of the right form, by known names."""
    if not isinstance(description, list) or depth > MAX_DEPTH:
        raise ModelError(f"the model file's layers are not a list (or nested deeper than {MAX_DEPTH})")
    total = 0
    for record in description:
        name = record.get("layer") if isinstance(record, dict) else None
        if name == "Sequential" and record.keys() == {"layer", "layers"}:
            total += _count(record["layers"], depth + 1)
        elif not isinstance(name, str) or name not in LAYERS:
            raise ModelError(f"the model file asks for an unknown layer: {str(name)[:80]!r}", _allowed())
        total += 1
    return total


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _allowed() -> str:
    return f"a head may hold: {', '.join(LAYERS)}"
