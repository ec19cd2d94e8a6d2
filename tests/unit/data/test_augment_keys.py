"""Every knob of fastai's ``aug_transforms`` is a key of ours, or left out for a reason; both engines obey."""

import inspect

import pytest
import torch
from fastai.vision.all import TensorImage, Zoom, aug_transforms, set_seed, setup_aug_tfms

from imgclf.data.presize import FusedAugment, batch_transforms
from imgclf.schema.augment import AugmentConfig

RENAMED = {"do_flip": "flip"}
LEFT_OUT = {
    "mult": "a factor on three keys that are there themselves",
    "xtra_tfms": "Python objects; a file of settings has none",
    "size": "augment.size, with the rule that validation has it too",
    "mode": "bilinear: nearest loses detail, bicubic leaves the range of pixels",
    "align_corners": "the fused map of coordinates is made for one value",
    "batch": "one draw for a whole batch: less variety and nothing gained",
}
STILL = {"min_scale": 1.0, "do_flip": False, "flip_vert": False, "max_rotate": 0, "max_warp": 0}


def test_every_knob_is_a_key_or_left_out_for_a_reason():
    knobs = set(inspect.signature(aug_transforms).parameters)
    keys = {knob for knob in knobs if RENAMED.get(knob, knob) in AugmentConfig.model_fields}
    # `size` is a key with a meaning of its own.
    assert knobs - keys | {"size"} == set(LEFT_OUT)


def batch(side=32) -> TensorImage:
    torch.manual_seed(0)
    return TensorImage(torch.nn.functional.interpolate(torch.rand(8, 3, 5, 5), (side, side), mode="bilinear"))


@pytest.mark.parametrize("pad_mode", ["reflection", "border", "zeros"])
def test_zooming_out_equals_fastais_draw_for_draw(pad_mode):
    x, zoom = batch(), {"min_zoom": 0.5, "max_zoom": 1.2}
    set_seed(1)
    ours = FusedAugment(size=32, p_affine=0.75, pad_mode=pad_mode, **zoom, **STILL)(x, split_idx=0)
    theirs = setup_aug_tfms([Zoom(p=0.75, pad_mode=pad_mode, align_corners=True, **zoom)])[0]
    set_seed(1)
    assert torch.allclose(ours, theirs(x, split_idx=0), atol=1e-5)
    assert bool((ours == 0).any()) == (pad_mode == "zeros")


@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_both_engines_get_the_keys(engine, make_config):
    still = {
        f"augment.{k}": v for k, v in {"flip": False, "max_rotate": 0.0, "max_warp": 0.0, "min_scale": 1.0}.items()
    }
    still |= {"augment.max_lighting": 0.0, "augment.size": 32, "augment.presize": 32, "augment.engine": engine}
    cfg = make_config(**still, **{"augment.min_zoom": 0.5, "augment.max_zoom": 1.0, "augment.pad_mode": "zeros"})
    set_seed(2)
    x = batch()
    for tfm in batch_transforms(cfg, 32):
        x = tfm(x, split_idx=0)
    assert (x == 0).any()


@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_erasing_is_for_training_alone(engine, make_config):
    settings = {"augment.engine": engine, "augment.size": 32, "augment.presize": 40}
    assert "RandomErasing" not in str(batch_transforms(make_config(**settings), 32))
    *_, erase = batch_transforms(make_config(**settings, **{"augment.erase": 1.0, "augment.erase_count": 2}), 32)
    assert (type(erase).__name__, erase.p, erase.max_count) == ("RandomErasing", 1.0, 2)
    x = torch.zeros(4, 3, 32, 32)
    set_seed(3)
    assert not erase(TensorImage(x.clone()), split_idx=1).any()
    assert erase(TensorImage(x.clone()), split_idx=0).any()
