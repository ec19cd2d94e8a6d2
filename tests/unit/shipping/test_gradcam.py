"""Heat maps: against gradients taken another way, and on images where the right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from imgclf.data.images import Preprocess
from imgclf.shipping import inference
from imgclf.shipping.gradcam import heatmaps
from imgclf.shipping.inference import Predictor

SIDE, CELL = 64, 8


def by_hooks(net: nn.Module, x: torch.Tensor, wanted: int) -> np.ndarray:
    """Grad-CAM as it is usually written: hooks on the last block, a backward pass through the whole network."""
    kept = {}
    last = net[0][-1]
    handles = [
        last.register_forward_hook(lambda module, inputs, output: kept.update(features=output)),
        last.register_full_backward_hook(lambda module, inputs, outputs: kept.update(gradient=outputs[0])),
    ]
    net(x.clone().requires_grad_())[0, wanted].backward()
    for handle in handles:
        handle.remove()
    features, gradient = kept["features"][0].detach().numpy(), kept["gradient"][0].numpy()
    cam = np.maximum(np.einsum("f,fhw->hw", gradient.mean((1, 2)), features), 0)
    big = F.interpolate(torch.tensor(cam)[None, None], size=x.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    return (big / big.max()).numpy()


def test_maps_are_those_of_hooks_on_the_last_block(model, photos):
    predictor = inference.load(model)
    image = predictor.preprocess.load(photos[1])
    found = heatmaps(predictor, image, [0, 1, 2])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (predictor.preprocess.mean, predictor.preprocess.std))
    x = (torch.tensor(image).permute(2, 0, 1)[None].float() / 255 - mean) / std
    assert found.shape == (3, SIDE, SIDE)
    assert found.dtype == np.float32
    checked = 0
    for i in range(3):
        if found[i].any():
            np.testing.assert_allclose(found[i], by_hooks(predictor.network, x, i), atol=1e-4)
            checked += 1
    assert checked, "no class has anything to compare"
    assert not np.array_equal(found[0], found[1])


def bright_or_dark() -> Predictor:
    """A network one can see through: its features are how bright and how dark each cell is."""
    body = nn.Sequential(nn.Conv2d(3, 2, CELL, stride=CELL), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        body[0].weight[0], body[0].weight[1] = 1 / (3 * CELL**2), -1 / (3 * CELL**2)
        body[0].bias.copy_(torch.tensor([-0.5, 0.5]))
        head[2].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        head[2].bias.zero_()
    net = nn.Sequential(body, head).eval().requires_grad_(False)
    preprocess = Preprocess(size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Predictor("seen", ("bright", "dark"), preprocess, "bundle", 1.0, lambda x: x, network=net)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, SIDE - 2 * CELL), st.integers(0, SIDE - 2 * CELL), st.booleans())
def test_the_map_peaks_at_the_patch_that_decides_the_class(x, y, bright):
    image = np.full((SIDE, SIDE, 3), 120 if bright else 136, np.uint8)
    image[y : y + 2 * CELL, x : x + 2 * CELL] = 250 if bright else 5
    found = heatmaps(bright_or_dark(), image, [0, 1])
    heat = found[0 if bright else 1]
    top, left = np.unravel_index(heat.argmax(), heat.shape)
    assert y - CELL <= top < y + 3 * CELL
    assert x - CELL <= left < x + 3 * CELL
    assert heat.max() == pytest.approx(1)
    assert heat[y : y + 2 * CELL, x : x + 2 * CELL].mean() > 3 * heat.mean()


def test_features_without_places_have_no_map():
    predictor = bright_or_dark()
    body, head = predictor.network
    whole = nn.Sequential(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()), head[2])
    found = heatmaps(replace(predictor, network=whole), np.full((SIDE, SIDE, 3), 250, np.uint8), [0, 1])
    assert found.shape == (0, SIDE, SIDE)


def test_a_class_nothing_speaks_for_has_an_empty_map():
    found = heatmaps(bright_or_dark(), np.full((SIDE, SIDE, 3), 250, np.uint8), [0, 1])
    assert found[0].all()
    assert not found[1].any()
    assert np.isfinite(found).all()
