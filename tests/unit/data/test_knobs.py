"""Each augmentation key has an effect on the training batches that the loaders make, and on no others."""

import pytest
import torch

from imgclf.data import loaders
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

N = 16  # as each is flipped, or not, by chance
STILL = {
    "flip": False, "max_rotate": 0.0, "max_zoom": 1.0, "max_warp": 0.0, "min_scale": 1.0, "max_lighting": 0.0,
    "size": 24, "presize": 32,
}  # fmt: skip
# What is on already, what is changed.
KNOBS = {
    "flip": ({}, {"flip": True}),
    "flip_vert": ({"flip": True}, {"flip_vert": True}),
    "max_rotate": ({}, {"max_rotate": 30.0}),
    "min_zoom": ({}, {"min_zoom": 0.5}),
    "max_zoom": ({}, {"max_zoom": 2.0}),
    "max_warp": ({}, {"max_warp": 0.4}),
    "max_lighting": ({}, {"max_lighting": 0.5}),
    "min_scale": ({}, {"min_scale": 0.3}),
    "pad_mode": ({"max_rotate": 45.0}, {"pad_mode": "zeros"}),
    "p_affine": ({"max_rotate": 30.0}, {"p_affine": 0.0}),
    "p_lighting": ({"max_lighting": 0.5}, {"p_lighting": 0.0}),
    "erase": ({}, {"erase": 1.0}),
    "erase_count": ({"erase": 1.0}, {"erase_count": 5}),
    "resize": ({}, {"resize": "squish"}),
    "presize": ({"min_scale": 0.1}, {"presize": 24}),
    "size": ({}, {"size": 20}),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, pictures) -> Dataset:
    root = tmp_path_factory.mktemp("knobs")
    parts = {
        part: tuple(Sample(f"{part}{i}.png", ("ab"[i % 2],), part) for i in range(N)) for part in ("train", "valid")
    }
    pictures.files(root, *(s.path for part in parts.values() for s in part), size=(60, 50))
    return Dataset(root, ("a", "b"), **parts)


@pytest.fixture
def batches(dataset, make_config):
    def make(engine, **changes):
        settings = {f"augment.{k}": v for k, v in {**STILL, "engine": engine, **changes}.items()}
        cfg = make_config(dataset.root, **settings, **{"data.batch_size": N, "data.workers": 0})
        dls = loaders.build(cfg, dataset, torch.device("cpu")).dls
        loaders.reseed(dls, 5)
        return [next(iter(dl))[0].as_subclass(torch.Tensor) for dl in dls.loaders]

    return make


@pytest.mark.parametrize("engine", ["fused", "fastai"])
@pytest.mark.parametrize("key", KNOBS)
def test_the_key_changes_training_and_not_validation(batches, engine, key):
    on, change = KNOBS[key]
    (train, valid), (changed, same) = batches(engine, **on), batches(engine, **on, **change)
    if key == "size":
        assert (train.shape[-1], changed.shape[-1], same.shape[-1]) == (24, 20, 20)
        return
    assert not torch.allclose(train, changed, atol=0.05)
    assert torch.equal(valid, same) == (key != "resize")  # the rule is validation's too


@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_without_any_of_them_a_training_image_is_the_validation_image(dataset, engine, make_config):
    settings = {f"augment.{k}": v for k, v in {**STILL, "presize": 24, "resize": "squish", "engine": engine}.items()}
    cfg = make_config(dataset.root, **settings, **{"data.batch_size": N, "data.workers": 0})
    again = tuple(Sample(s.path, s.labels, "valid") for s in dataset.train)
    dls = loaders.build(cfg, Dataset(dataset.root, dataset.classes, dataset.train, again), torch.device("cpu")).dls
    train, valid = (next(iter(dl))[0].as_subclass(torch.Tensor) for dl in dls.loaders)
    apart = (train[:, None] - valid[None]).abs().amax(dim=(2, 3, 4))
    assert apart.min(1).values.max() < 0.1
    assert apart.median() > 2
    assert sorted(apart.argmin(1).tolist()) == list(range(N))
