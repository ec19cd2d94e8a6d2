"""What a device looks up for a batch is what a worker looks up for each image."""

import random

import pytest
import torch
from fastai.vision.all import TensorImage

from imgclf.data import loaders, unsampled
from imgclf.data.geometry import Geometry, Lighting
from imgclf.data.images import Preprocess
from imgclf.data.presize import Fused
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

SIDES = [(90, 60), (31, 200), (64, 64), (1, 1), (300, 7), (500, 375)]
FAR = {"min_scale": 0.5, "do_flip": True, "flip_vert": True, "max_rotate": 40.0, "min_zoom": 0.5, "max_warp": 0.3}


@pytest.mark.parametrize("pad_mode", ["reflection", "border", "zeros"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "rule"), [(24, "crop"), (64, "squish"), (33, "pad")])
def test_a_device_gives_what_a_worker_gives(pictures, size, rule, channels, pad_mode):
    geometry, lighting = Geometry(**FAR, max_zoom=2.0, p_affine=0.9, pad_mode=pad_mode), Lighting(0.3, 0.75)
    found, expected = [], []
    for seed, sides in enumerate(SIDES * 3):
        image = pictures.picture(*sides, seed=seed)
        for on_device, into in ((True, found), (False, expected)):
            random.seed(seed)
            step = Fused(60, Preprocess(size, resize=rule, channels=channels), geometry, lighting, on_device)
            into.append(step((image, seed), split_idx=0))
    rows = torch.stack([row for row, _ in unsampled.same_length(found)])
    images = unsampled.LookUp(size, channels, pad_mode)(rows)
    assert isinstance(images, TensorImage) and images.dtype == torch.uint8
    difference = (images.int() - torch.stack([image for image, _ in expected]).int()).abs()
    assert difference.max() <= 2  # a coordinate is rounded elsewhere
    assert (difference > 0).float().mean() < 0.01


def test_a_large_batch_is_looked_up_in_parts(pictures, monkeypatch):
    step = Fused(60, Preprocess(24), Geometry(), None, True)
    rows = torch.stack(
        [
            row
            for row, _ in unsampled.same_length([(step(pictures.picture(40, 40, s), split_idx=0), s) for s in range(5)])
        ]
    )
    look_up = unsampled.LookUp(24, 3, "reflection")
    whole = look_up(rows)
    monkeypatch.setattr(unsampled, "AT_ONCE", 2 * 24 * 24 * 3)
    assert torch.equal(look_up(rows), whole)


def test_validation_is_the_same_wherever_training_images_are_looked_up(tmp_path, pictures, make_config):
    parts = {p: tuple(Sample(f"{p}/{i}.png", ("ab"[i % 2],), p) for i in range(6)) for p in ("train", "valid")}
    pictures.files(tmp_path, *(s.path for part in parts.values() for s in part), size=(20, 14))
    data = Dataset(tmp_path, ("a", "b"), **parts)

    def batches(where):
        settings = {"augment.size": 8, "augment.presize": 12, "data.batch_size": 3, "data.workers": 0}
        cfg = make_config(tmp_path, **settings, **{"augment.where": where})
        dls = loaders.build(cfg, data, torch.device("cpu")).dls
        loaders.reseed(dls, 3)
        return [list(dl) for dl in dls.loaders]

    (train, valid), (other_train, other_valid) = batches("workers"), batches("device")
    assert all(torch.equal(x, x2) and torch.equal(y, y2) for (x, y), (x2, y2) in zip(valid, other_valid, strict=True))
    for (x, y), (x2, y2) in zip(train, other_train, strict=True):
        assert torch.equal(y, y2)
        torch.testing.assert_close(x, x2, rtol=0, atol=3 / 255 / 0.22)


def test_a_gpu_looks_up_unless_the_workers_are_to(make_config):
    chosen = {
        (where, kind): loaders.on_device(make_config(**{"augment.where": where}), torch.device(kind))
        for where in ("auto", "workers", "device") for kind in ("cpu", "cuda")
    }  # fmt: skip
    assert [way for way, on_device in chosen.items() if on_device] == [
        ("auto", "cuda"),
        ("device", "cpu"),
        ("device", "cuda"),
    ]
