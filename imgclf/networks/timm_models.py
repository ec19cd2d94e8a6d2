"""timm's models (the extra ``timm``), without their classifier. timm takes a second to import: where it is used."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

INSTALL = 'pip install "imgclf[timm]"'


class TimmBody(nn.Module):
    """A timm model without its classifier, as fastai's class of that name, weights under the same names.

    Where the model ends in a feature map, that is given: (N, C, H, W) to (N, F, h, w). Models that pool in their own
    way, such as vision transformers, give features (N, F).
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.gives_map = model.pretrained_cfg.get("pool_size") is not None
        # fastai takes any map for (N, F, h, w) and fails on Swin's.
        self.channels_come_last = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> Tensor:
        if not self.gives_map:
            return torch.as_tensor(self.model(x))
        features: Tensor = self.model.forward_features(x)
        return features.permute(0, 3, 1, 2) if self.channels_come_last else features


def installed() -> bool:
    """Whether timm is there."""
    return find_spec("timm") is not None


def names(pattern: str = "") -> list[str]:
    """timm's names that fit a pattern with ``*`` and ``?``, all of them without; none where timm is missing."""
    if not installed():
        return []
    import timm

    return list(timm.list_models(pattern))


@cache
def knows(name: str) -> bool:
    """Whether timm has a model of that name, which may end in one of its tags: ``resnet18.a1_in1k``."""
    if not installed():
        return False
    import timm

    return name in timm.list_models() if "." not in name else timm.models.is_model_pretrained(name)


def settings(name: str) -> dict[str, Any]:
    """What timm says of a model's weights: where they are, and the preprocessing they were trained with."""
    import timm

    return dict(timm.get_pretrained_cfg(name).to_dict())


def whole(name: str, n_classes: int | None = None) -> nn.Module:
    """The model with its classifier, random weights.

    Args:
        n_classes: Of the classifier; None: as many as its published weights have.
    """
    import timm

    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=n_classes)
    return made


def body(name: str, channels: int = 3) -> TimmBody:
    """The model without its classifier, random weights; in memory if torch's meta device cannot build it."""
    import timm

    try:
        return TimmBody(timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels))
    except RuntimeError:  # older ones look at numbers while they are built, which meta has not
        with torch.device("cpu"):
            return TimmBody(timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels))


def for_channels(state: dict[str, Tensor], name: str, channels: int) -> dict[str, Tensor]:
    """Weights for RGB as weights for so many channels: the first layer's are summed over the colours for one."""
    if channels == 3:
        return state
    from timm.models import adapt_input_conv

    first = settings(name)["first_conv"]
    layers = [f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)]
    return {k: adapt_input_conv(channels, v) if k in layers else v for k, v in state.items()}
