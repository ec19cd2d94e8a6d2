"""Where a network looks: Grad-CAM (Selvaraju et al. 2017), the places of an image that speak for a class."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from imgclf.shipping import layers
from imgclf.shipping.inference import Predictor


def heatmaps(predictor: Predictor, image: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """How much each place speaks for each wanted class: (K, S, S) float32, 0 to 1, the highest of each map being 1.

    The feature maps of the body's end are added up, each weighted by the mean gradient of the class's logit over it;
    what is negative speaks against the class and is 0. A map is all 0 if nothing speaks for the class. The maps of a
    ResNet have one place for every 32 x 32 pixels; they are enlarged smoothly. A body that gives no feature map, such
    as a vision transformer's, has no maps: (0, S, S).

    Args:
        image: (S, S, 3) uint8 RGB, as ``predictor.preprocess`` makes it.
        wanted: K class numbers.
    """
    net, preprocess = predictor.network, predictor.preprocess
    assert net is not None, "an exported graph gives no activations"
    where = next(net.parameters()).device
    mean, std = (torch.tensor(v, device=where).view(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with torch.no_grad():
            features = net[0](layers.model_input(torch.tensor(image, device=where)[None], mean, std))
        if features.ndim != 4:
            return np.zeros((0, *image.shape[:2]), np.float32)
        features.requires_grad_()
        logits = net[1](features)[0]
        maps = torch.cat([_map(features, logits[i]) for i in wanted])
    enlarged = F.interpolate(maps[None], size=image.shape[:2], mode="bilinear", align_corners=False)[0]
    highest = enlarged.amax((1, 2), keepdim=True)
    return np.asarray((enlarged / highest.clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy())


def _map(features: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """(1, h, w) of features (1, F, h, w)."""
    gradient = torch.autograd.grad(logit, features, retain_graph=True)[0]
    return F.relu((gradient.mean((2, 3), keepdim=True) * features.detach()).sum(1))
