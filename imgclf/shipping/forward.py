"""A network as a function of an image's bytes, on the device it is to run on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from imgclf import memory
from imgclf.data.images import Preprocess
from imgclf.errors import UserError, first_line
from imgclf.networks import folding
from imgclf.shipping import layers

if TYPE_CHECKING:
    from imgclf.shipping.inference import Seen

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
IN_CACHE = 16  # images whose feature maps a processor's caches hold: more at once are slower


class InHalf(nn.Module):
    """A body that computes in numbers of half the length: float32 images to float32 features all the same."""

    def __init__(self, body: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.body, self.dtype = body.to(dtype), dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.body(images.to(self.dtype))
        return features.float()


def torch_forward(
    net: nn.Sequential, preprocess: Preprocess, device: str, precision: str = "fp32"
) -> "Callable[[np.ndarray], Seen]":
    """uint8 RGB images (N, S, S, 3) to the answers of ``Sequential(body, head)`` and the body's pooled features.

    On a processor the network itself is made quicker: its answers stay, but its weights become others.

    Args:
        precision: Of the body; head and answers stay float32.

    Raises:
        UserError: for a device that is not here, or cannot compute in that precision.
    """
    where = _torch_device(device)
    if precision == "fp16" and where.type == "cpu":
        raise UserError(f"--precision fp16 is for a GPU, this is {where}", "use bf16, or fp32")
    net = net.to(where).eval()
    if where.type == "cpu":
        memory.keep_freed()
        folding.fold(net[0])
        net = net.to(memory_format=torch.channels_last)
    if precision in HALF:
        net[0] = InHalf(net[0], HALF[precision])
    mean, std = (torch.tensor(v, device=where).view(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std))

    def see(images: np.ndarray) -> "Seen":
        at_once = IN_CACHE if where.type == "cpu" else len(images)
        parts = [compute(images[i : i + at_once]) for i in range(0, len(images), at_once)]
        logits, pooled = map(np.concatenate, zip(*parts, strict=True))
        return logits, pooled

    def compute(images: np.ndarray) -> "Seen":
        # TF32 (cuDNN's default) would make an image's answer depend on its batch in the third decimal.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            x = layers.model_input(torch.tensor(images, device=where), mean, std)
            features = net[0](x)
            pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
            return net[1](features).float().cpu().numpy(), pooled.float().cpu().numpy()

    return see


def _torch_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as e:  # what torch raises for a device it has not, or was not built for
        raise UserError(f"the device '{name}' cannot be used: {first_line(e)}", "use --device cpu") from e
    return device
