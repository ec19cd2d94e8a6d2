"""Every knob of fastai's ``aug_transforms`` is a key of ours, or left out for a reason.

That each has its effect with both engines: test_knobs.py.
"""

import inspect

import pytest
import torch
from fastai.vision.all import TensorImage, aug_transforms, set_seed

from imgclf.data.images import Preprocess
from imgclf.data.presize import transforms
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


def test_every_knob_is_a_key_or_left_out_for_a_reason():
    knobs = set(inspect.signature(aug_transforms).parameters)
    keys = {knob for knob in knobs if RENAMED.get(knob, knob) in AugmentConfig.model_fields}
    # `size` is a key with a meaning of its own.
    assert knobs - keys | {"size"} == set(LEFT_OUT)


@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_erasing_is_for_training_alone(engine, make_config):
    settings = {"augment.engine": engine, "augment.size": 32, "augment.presize": 40}
    assert "RandomErasing" not in str(transforms(make_config(**settings), 40, Preprocess(32)))
    more = {"augment.erase": 1.0, "augment.erase_count": 2}
    *_, erase = transforms(make_config(**settings, **more), 40, Preprocess(32))[1]
    assert (type(erase).__name__, erase.p, erase.max_count) == ("RandomErasing", 1.0, 2)
    x = torch.zeros(4, 3, 32, 32)
    set_seed(3)
    assert not erase(TensorImage(x.clone()), split_idx=1).any()
    assert erase(TensorImage(x.clone()), split_idx=0).any()
