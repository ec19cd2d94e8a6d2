"""Augmentation: the fused engine is fastai's composition in one interpolation, and validation stays untouched."""

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    Brightness,
    Contrast,
    Dihedral,
    Flip,
    Rotate,
    TensorImage,
    Warp,
    Zoom,
    set_seed,
    setup_aug_tfms,
)

from imgclf.data import loaders, presize
from imgclf.data.images import Preprocess, decode
from imgclf.data.presize import FusedAugment, OpenImage, Presize, batch_transforms, random_crop
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

SIZE = 32
STILL = {"min_scale": 1.0, "do_flip": False, "flip_vert": False, "max_rotate": 0, "max_zoom": 1, "max_warp": 0}


def batch(n=8, side=SIZE, seed=0) -> TensorImage:
    """Smooth pictures (N, 3, side, side) in 0 to 1."""
    torch.manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return TensorImage(smooth.clamp(0, 1))


def fused(size=SIZE, **changes) -> FusedAugment:
    return FusedAugment(size=size, **{**STILL, "p_affine": 0.75, **changes})


# Functions, because fastai changes the first of the transforms it composes.
CASES = {
    "flip": ({"do_flip": True}, lambda: [Flip(p=0.5)]),
    "dihedral": ({"do_flip": True, "flip_vert": True}, lambda: [Dihedral(p=0.5)]),
    "rotate": ({"max_rotate": 30.0}, lambda: [Rotate(max_deg=30.0, p=0.75)]),
    "zoom": ({"max_zoom": 1.5}, lambda: [Zoom(max_zoom=1.5, p=0.75)]),
    "warp": ({"max_warp": 0.3}, lambda: [Warp(magnitude=0.3, p=0.75)]),
    "all": (
        {"do_flip": True, "max_rotate": 10.0, "max_zoom": 1.1, "max_warp": 0.2},
        lambda: [Flip(p=0.5), Rotate(max_deg=10.0, p=0.75), Zoom(max_zoom=1.1, p=0.75), Warp(magnitude=0.2, p=0.75)],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_crop_fused_equals_fastais_own_composition_draw_for_draw(case, seed):
    settings, theirs = CASES[case]
    x = batch()
    set_seed(seed)
    ours = fused(**settings)(x.clone(), split_idx=0)
    [composed] = setup_aug_tfms(theirs())
    set_seed(seed)
    reference = composed(x.clone(), split_idx=0)
    assert torch.allclose(ours, reference, atol=1e-4)
    assert (ours - x).abs().max() > 0.05


def test_doing_nothing_returns_the_image():
    x = batch()
    assert torch.allclose(fused()(x, split_idx=0), x, atol=1e-5)


def test_the_output_has_the_final_size_and_stays_a_tensor_image():
    out = fused(24, min_scale=0.75, do_flip=True, max_warp=0.2)(batch(side=40), split_idx=0)
    assert tuple(out.shape) == (8, 3, 24, 24)
    assert isinstance(out, TensorImage)
    assert out.min() >= -1e-5 and out.max() <= 1 + 1e-5


def test_shrinking_far_averages_instead_of_skipping_pixels():
    torch.manual_seed(0)
    grain = TensorImage(torch.rand(4, 3, 256, 256))
    ours, theirs = fused(32)(grain, split_idx=0), setup_aug_tfms([Flip(p=0.0, size=32)])[0](grain, split_idx=0)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert ours.std() < grain.std() / 4


def test_every_image_of_a_batch_gets_a_crop_of_its_own():
    one = batch(1, side=40)
    out = fused(24, min_scale=0.3)(TensorImage(one.repeat(6, 1, 1, 1)), split_idx=0)
    assert (out[1:] - out[:1]).abs().amax(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("min_scale", [0.1, 0.35, 0.75])
def test_crops_stay_inside_the_image_and_cover_the_areas_asked_for(min_scale):
    torch.manual_seed(0)
    matrices = random_crop(torch.zeros(4000, 3, 1, 1), min_scale)
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)]).T
    mapped = matrices @ corners
    assert mapped[:, :2].abs().max() <= 1 + 1e-5
    assert torch.equal(mapped[:, 2], torch.ones(4000, 4))
    area = matrices[:, 0, 0] * matrices[:, 1, 1]
    assert area.min() >= min_scale - 1e-5 and area.max() <= 1 + 1e-5
    assert torch.equal(matrices[:, 0, 0], matrices[:, 1, 1])
    # uniform: its quartiles lie where they should
    wanted = min_scale + (1 - min_scale) * torch.tensor([0.25, 0.5, 0.75])
    assert torch.allclose(torch.quantile(area, torch.tensor([0.25, 0.5, 0.75])), wanted, atol=0.03)


def test_crops_lie_anywhere():
    torch.manual_seed(0)
    matrices = random_crop(torch.zeros(4000, 3, 1, 1), 0.25)
    room = 1 - matrices[:, 0, 0]
    for axis in (0, 1):
        at = matrices[:, axis, 2] / room
        assert at.abs().max() <= 1 + 1e-4
        assert abs(at.mean()) < 0.05
        assert 0.5 < at.std() < 0.65  # of a uniform draw in [-1, 1]: 0.577
    assert abs(torch.corrcoef(matrices[:, :2, 2].T)[0, 1]) < 0.05


def test_half_of_the_images_are_mirrored():
    ramp = torch.linspace(0, 1, 8).expand(2000, 3, 8, 8)
    torch.manual_seed(0)
    out = fused(8, do_flip=True)(TensorImage(ramp.clone()), split_idx=0)
    mirrored = (out[:, 0, 0, 0] > out[:, 0, 0, -1]).float().mean()
    assert 0.45 < mirrored < 0.55


def test_all_eight_ways_occur_and_no_other():
    torch.manual_seed(0)
    square = torch.rand(1, 3, 6, 6)
    out = fused(6, do_flip=True, flip_vert=True)(TensorImage(square.repeat(300, 1, 1, 1)), split_idx=0)
    turned = [torch.rot90(square[0], k, (1, 2)) for k in range(4)]
    ways = torch.stack([*turned, *(t.flip(2) for t in turned)])
    closest = (out[:, None] - ways[None]).abs().amax(dim=(2, 3, 4))
    assert closest.min(dim=1).values.max() < 1e-4
    assert len(closest.argmin(dim=1).unique()) == 8


ENGINES = ["fused", "fastai"]


def pipeline(cfg):
    """The batch transforms of a configuration, in fastai's order."""
    return sorted(batch_transforms(cfg, cfg.augment.size), key=lambda t: t.order)


def small(make_config, **settings):
    defaults = {"augment.size": 24, "augment.presize": 40}
    return make_config("/data", **{**defaults, **{f"augment.{k}": v for k, v in settings.items()}})


@pytest.mark.parametrize("engine", ENGINES)
def test_validation_batches_pass_unchanged(make_config, engine):
    x = batch(side=24)
    for tfm in pipeline(small(make_config, engine=engine)):
        for _ in range(2):  # fastai's transforms change their own split_idx when called
            assert torch.equal(tfm(x.clone(), split_idx=1), x)
            tfm(batch(side=40), split_idx=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("min_scale", [0.5, 1.0])
def test_training_batches_come_to_size_and_are_changed(make_config, engine, min_scale):
    x = batch(side=40)
    for tfm in pipeline(small(make_config, engine=engine, min_scale=min_scale)):
        x = tfm(x, split_idx=0)
    assert tuple(x.shape) == (8, 3, 24, 24)
    assert isinstance(x, TensorImage)


def test_brightness_and_contrast_are_fastais(make_config):
    [_, light] = pipeline(small(make_config))
    x = batch(side=24)
    set_seed(3)
    ours = light(x.clone(), split_idx=0)
    set_seed(3)
    [reference] = setup_aug_tfms([Brightness(0.2, p=0.75), Contrast(0.2, p=0.75)])
    assert torch.allclose(ours, reference(x.clone(), split_idx=0))
    assert (ours - x).abs().max() > 0.01


def test_no_lighting_means_no_lighting_step(make_config):
    assert [type(t).__name__ for t in pipeline(small(make_config, max_lighting=0.0))] == ["FusedAugment"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_datablock_keeps_every_transform(make_config, engine, tmp_path, pictures):
    """fastai merges a block's and its own batch transforms by class: the last one of a class would win."""
    pictures.files(tmp_path, "1.png", "2.png", "3.png", "4.png")
    part = {
        p: tuple(Sample(f"{i}.png", ("ab"[i % 2],), p) for i in ids)
        for p, ids in {"train": (1, 2), "valid": (3, 4)}.items()
    }
    cfg = small(make_config, engine=engine)
    dls = loaders.build(cfg, Dataset(tmp_path, ("a", "b"), **part), torch.device("cpu")).dls
    names = [type(t).__name__ for t in dls.after_batch.fs]
    wanted = {"fused": ["FusedAugment", "TrainOnly"], "fastai": ["TrainOnly"]}[engine]
    assert sorted(names) == sorted([*wanted, "IntToFloatTensor", "Normalize"])
    held = [type(t).__name__ for f in dls.after_batch.fs if type(f).__name__ == "TrainOnly" for t in f.tfms]
    assert len(held) == {"fused": 1, "fastai": 3}[engine], held
    assert [t.order for t in dls.after_batch.fs] == sorted(t.order for t in dls.after_batch.fs)
    assert names.index("IntToFloatTensor") < names.index(wanted[0]) < names.index("Normalize")


# The item steps


def test_training_images_are_presized_at_random_and_others_as_the_model_sees_them(pictures):
    image, record = pictures.noise(60, 40), Preprocess(16)
    step = Presize(24, record)
    crops = [np.asarray(step(image, split_idx=0)) for _ in range(10)]
    assert {c.shape for c in crops} == {(24, 24, 3)}
    assert len({c.tobytes() for c in crops}) > 1
    np.testing.assert_array_equal(np.asarray(step(image, split_idx=1)), np.asarray(record.fit(image)))


def test_the_place_of_a_crop_comes_from_pythons_random_state(pictures):
    step = Presize(24, Preprocess(16))
    set_seed(4)
    first = np.asarray(step(pictures.noise(60, 40), split_idx=0))
    set_seed(4)
    np.testing.assert_array_equal(first, np.asarray(step(pictures.noise(60, 40), split_idx=0)))


def test_a_photograph_is_decoded_no_larger_than_its_split_needs(tmp_path, pictures):
    pictures.picture(400, 320).save(tmp_path / "a.jpg")
    record = Preprocess(20)
    step = OpenImage(160, record)
    assert step(tmp_path / "a.jpg", split_idx=0).size == (200, 160)
    assert step(tmp_path / "a.jpg", split_idx=1).size == decode(tmp_path / "a.jpg", record.decode_pixels).size
    assert record.size <= min(step(tmp_path / "a.jpg", split_idx=1).size) < 160


def test_what_names_a_step_in_the_summary_says_what_it_holds(make_config):
    assert "Brightness" in presize.TrainOnly([Brightness(), Contrast()]).name
