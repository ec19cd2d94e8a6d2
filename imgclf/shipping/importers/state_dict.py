"""The weights of a whole torchvision ResNet or timm model, classifier included, as a bundle's parts."""

from typing import Any

import torch
from torch import Tensor, nn

from imgclf.data.images import Preprocess
from imgclf.errors import ModelError
from imgclf.networks import bodies, timm_models
from imgclf.shipping import layers
from imgclf.shipping.importers import Original, on_fitted
from imgclf.shipping.record import Record

State = dict[str, Tensor]
COUNTER = "num_batches_tracked"  # of BatchNorm; not in every file, and no weight


def guess(state: State) -> str | None:
    """The torchvision ResNet that has exactly these tensors, whatever its number of classes; None: none."""
    have = {name: tensor.shape for name, tensor in state.items() if not name.startswith("fc.")}
    for name, build in bodies.BUILDERS.items():
        with torch.device("meta"):
            own = build(weights=None).state_dict()
        if _without_counters({k: v.shape for k, v in own.items() if not k.startswith("fc.")}) == _without_counters(
            have
        ):
            return name
    return None


def original(name: str, state: State, arch: str, classes: tuple[str, ...], preprocess: Preprocess) -> Original:
    """The model of that architecture with these weights.

    Args:
        name: Of the file.

    Raises:
        ModelError: if the weights are not exactly those of such a model, or a bundle cannot describe it.
    """
    resnet = arch in bodies.BUILDERS
    whole = _whole(arch, len(classes))
    _fill(whole, state, arch)
    body, classifier, between = _split_resnet(whole) if resnet else _split_timm(whole, arch)
    head = nn.Sequential(*between, classifier)
    kind = f"{'torchvision' if resnet else 'timm'} state dict"
    record = Record(
        classes=classes, preprocess=preprocess, arch=arch, head=layers.describe(head),
        training={"imported": {"file": name, "kind": kind}},
    )  # fmt: skip
    found = {key: tensor.detach() for key, tensor in nn.Sequential(body, head).state_dict().items()}
    return Original(kind, found, record, on_fitted(whole, preprocess, lambda x: torch.softmax(x, -1)))


def _whole(arch: str, n_classes: int) -> Any:
    if arch in bodies.BUILDERS:
        return bodies.BUILDERS[arch](weights=None, num_classes=n_classes).eval()
    return timm_models.whole(arch, n_classes).eval()


def _fill(whole: Any, state: State, arch: str) -> None:
    """All of the weights into all of the model."""
    own = whole.state_dict()
    odd = [k for k in state if k not in own] + [k for k in own if k not in state and not k.endswith(COUNTER)]
    if odd:
        raise ModelError(
            f"the weights are not those of {arch}: {len(odd)} tensors are missing or unknown, such as {_some(odd)}",
            _advice(state),
        )
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            raise ModelError(
                f"the weights '{key}' are {list(tensor.shape)}; {arch} with these classes has {list(own[key].shape)}",
                "are there as many class names as the model has outputs? is it this architecture?",
            )
    whole.load_state_dict({**own, **state})


def _advice(state: State) -> str:
    first = next(iter(state), "")
    if first.startswith(("0.0.", "0.model.")):
        return "these are the names of fastai's learner.save(): import the file of learner.export() instead"
    return "what can be imported is a model whose classifier is its own, one linear layer; --arch names another one"


def _split_resnet(whole: Any) -> tuple[nn.Module, nn.Module, list[nn.Module]]:
    body = nn.Sequential(*list(whole.children())[: bodies.CUT])
    return body, whole.fc, [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _split_timm(whole: Any, arch: str) -> tuple[nn.Module, nn.Module, list[nn.Module]]:
    """Body, classifier, and what lies between them where the body ends in a feature map."""
    classifier = whole.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise ModelError(f"the classifier of {arch} is a {type(classifier).__name__}, not one linear layer")
    body = timm_models.body(arch)
    own = whole.state_dict()
    lacking = [key for key in body.model.state_dict() if key not in own]
    if lacking:
        raise ModelError(f"{arch} without its classifier has other tensors than with it, such as {_some(lacking)}")
    body.model.load_state_dict({key: own[key] for key in body.model.state_dict()})
    if not body.gives_map:
        return body, classifier, []
    if classifier.in_features != whole.num_features:
        raise ModelError(
            f"{arch} has layers between its feature map of {whole.num_features} and its classifier of "
            f"{classifier.in_features} features, which a bundle cannot describe"
        )
    return body, classifier, [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_norm(whole)]


def _norm(whole: Any) -> list[nn.Module]:
    """The layer norm that some, such as ConvNeXt, have after their pooling; one pooled pixel has no other axes."""
    norm = getattr(getattr(whole, "head", None), "norm", None)
    if not isinstance(norm, nn.LayerNorm):
        return []
    plain = nn.LayerNorm(norm.normalized_shape, eps=norm.eps)
    plain.load_state_dict(norm.state_dict())
    return [plain]


def _without_counters(shapes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shapes.items() if not key.endswith(COUNTER)}


def _some(names: list[str]) -> str:
    return ", ".join(f"'{name[:60]}'" for name in names[:3])
