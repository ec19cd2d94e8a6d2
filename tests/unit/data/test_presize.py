"""Augmentation: the fused engine samples an image once, at its final size, and validation stays untouched."""

import random

import numpy as np
import pytest
import torch
from fastai.vision.all import Brightness, Contrast, TensorImage, set_seed
from PIL import Image

from imgclf.data import loaders, presize
from imgclf.data.geometry import Geometry, Lighting, crop, rotation
from imgclf.data.images import Preprocess, decode
from imgclf.data.presize import Fused, OpenImage, Presize, transforms
from imgclf.data.samples import Sample
from imgclf.data.sampling import part_of, sample
from imgclf.data.split import Dataset

SIZE = 32


def batch(n=8, side=SIZE, seed=0) -> TensorImage:
    """Smooth pictures (N, 3, side, side) in 0 to 1."""
    torch.manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return TensorImage(smooth.clamp(0, 1))


def fused(size=SIZE, presize=1000, lighting=None, **geometry) -> Fused:
    return Fused(presize, Preprocess(size), Geometry(**geometry), lighting)


def looked_up(image, matrix, size, pad_mode="reflection"):
    return sample(part_of(image, (0, 0, *image.size), matrix, size), size, pad_mode)


def test_doing_nothing_returns_the_image(pictures):
    image = pictures.noise(SIZE, SIZE)
    out = fused()(image, split_idx=0)
    np.testing.assert_array_equal(np.asarray(out).transpose(1, 2, 0), np.asarray(image))


def test_the_output_is_whole_numbers_at_the_final_size(pictures):
    out = fused(24, min_scale=0.75, do_flip=True, max_warp=0.2)(pictures.picture(60, 40), split_idx=0)
    assert (tuple(out.shape), out.dtype, out.is_contiguous()) == ((3, 24, 24), torch.uint8, True)
    assert isinstance(out, TensorImage)


@pytest.mark.parametrize("rule", ["crop", "pad", "squish"])
def test_every_rule_shows_the_image_upright_and_whole(rule, pictures):
    """Without any augmentation: what the same rule gives by resizing."""
    image, record = pictures.picture(90, 60), Preprocess(40, resize=rule)
    step = Fused(1000, record, Geometry())
    random.seed(1)
    out = step(image, split_idx=0)
    expected = np.asarray(presize.resize(image, 40, rule, step.at)).astype(float)
    assert np.abs(np.asarray(out).transpose(1, 2, 0) - expected).mean() < 4


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("rule", ["crop", "pad", "squish"])
def test_the_smallest_images_can_be_sampled(size, rule, pictures):
    step = Fused(40, Preprocess(24, resize=rule), Geometry(0.5, True, True, 30.0, 0.5, 2.0, 0.3))
    for seed in range(20):
        random.seed(seed)
        out = step(Image.new("RGB", size, (200, 100, 50)), split_idx=0)
        assert torch.equal(out, torch.tensor([200, 100, 50], dtype=torch.uint8).view(3, 1, 1).expand(3, 24, 24))


def test_shrinking_far_averages_instead_of_skipping_pixels(pictures):
    grain = pictures.noise(256, 256)
    out = looked_up(grain, np.eye(3), 32).float()
    boxes = np.asarray(grain).reshape(32, 8, 32, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(out.numpy() - boxes).max() <= 1.5


def like_a_photograph(side, seed):
    """Grey noise whose amplitude falls with its frequency, as in photographs."""
    rng, k = np.random.default_rng(seed), np.fft.fftfreq(side)
    spectrum = np.fft.fft2(rng.standard_normal((side, side))) / np.maximum(np.hypot(k[:, None], k), 1 / side)
    values = np.fft.ifft2(spectrum).real
    return Image.fromarray((128 + 40 * values / values.std()).clip(0, 255).astype(np.uint8)).convert("RGB")


def sharpness(pixels):
    """How far a pixel of (C, H, W) is from the mean of its neighbours."""
    x = torch.as_tensor(np.ascontiguousarray(pixels)).float()[:, 1:-1, 1:-1]
    return (4 * x[:, 1:-1, 1:-1] - x[:, :-2, 1:-1] - x[:, 2:, 1:-1] - x[:, 1:-1, :-2] - x[:, 1:-1, 2:]).std()


@pytest.mark.parametrize("size", [48, 96, 128, 160, 224])
def test_training_images_are_as_sharp_as_those_the_model_is_judged_on(size):
    """Pixels that are skipped make them sharper, by half at 128 pixels of 256: fewer of the others are then right."""
    step = fused(size, min_scale=0.75, max_rotate=10.0, max_zoom=1.1, max_warp=0.2)
    ratios = []
    for seed in range(12):
        random.seed(seed)
        image = like_a_photograph(256, seed)
        judged = np.asarray(step(image, split_idx=1)).transpose(2, 0, 1)
        ratios.append(sharpness(step(image, split_idx=0)) / sharpness(judged))
    assert 0.8 < np.mean(ratios) < 1.15


def test_a_small_part_of_a_large_image_is_not_averaged(pictures):
    grain = pictures.noise(256, 256)
    out = looked_up(grain, crop(32 / 256, 0.5, 0.5), 32).float()
    assert out.std() > np.asarray(grain).std() / 2


def test_half_of_the_images_are_mirrored():
    ramp = Image.fromarray(np.linspace(0, 255, 8).astype(np.uint8)[None].repeat(8, 0)).convert("RGB")
    random.seed(0)
    step = fused(8, do_flip=True)
    out = torch.stack([step(ramp, split_idx=0)[0, 0] for _ in range(1000)]).int()
    assert 0.45 < (out[:, 0] > out[:, -1]).float().mean() < 0.55


def test_lighting_comes_last_and_once(pictures):
    image = pictures.picture(SIZE, SIZE)
    random.seed(3)
    step = fused(lighting=Lighting(0.4, 1.0))
    out = np.asarray(step(image, split_idx=0)).transpose(1, 2, 0)
    np.testing.assert_array_equal(out, step.table[np.asarray(image)])
    assert (out != np.asarray(image)).any()


def test_a_grey_model_gets_grey_training_images(pictures):
    image, record = pictures.picture(40, 40), Preprocess(SIZE, channels=1, mean=(0.4,), std=(0.2,))
    out = Fused(1000, record, Geometry())(image, split_idx=0)
    expected = np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(float)
    assert tuple(out.shape) == (1, SIZE, SIZE)
    assert np.abs(np.asarray(out)[0] - expected).mean() < 3


def test_a_transposed_memory_layout_does_not_leak_into_the_result(pictures):
    image = pictures.noise(SIZE, SIZE)
    out = looked_up(image, rotation(90), SIZE)
    np.testing.assert_array_equal(out.permute(1, 2, 0).numpy(), np.rot90(np.asarray(image), -1))


ENGINES = ["fused", "fastai"]


def steps(cfg):
    """The item step of a configuration, and its batch transforms in fastai's order."""
    item, batch = transforms(cfg, cfg.augment.presize, Preprocess(cfg.augment.size))
    return item, sorted(batch, key=lambda t: t.order)


def small(make_config, **settings):
    defaults = {"augment.size": 24, "augment.presize": 40}
    return make_config("/data", **{**defaults, **{f"augment.{k}": v for k, v in settings.items()}})


def test_validation_batches_pass_unchanged(make_config):
    x = batch(side=24)
    for tfm in steps(small(make_config, engine="fastai"))[1]:
        for _ in range(2):  # fastai's transforms change their own split_idx when called
            assert torch.equal(tfm(x.clone(), split_idx=1), x)
            tfm(batch(side=40), split_idx=0)


@pytest.mark.parametrize("min_scale", [0.5, 1.0])
def test_training_batches_come_to_size_and_are_changed(make_config, min_scale):
    x = batch(side=40)
    for tfm in steps(small(make_config, engine="fastai", min_scale=min_scale))[1]:
        x = tfm(x, split_idx=0)
    assert tuple(x.shape) == (8, 3, 24, 24)
    assert isinstance(x, TensorImage)


def test_the_fused_engine_leaves_the_batch_alone(make_config):
    item, batch_steps = steps(small(make_config))
    assert (type(item), batch_steps) == (Fused, [])
    assert item.lighting == Lighting(0.2, 0.75)


def test_no_lighting_means_no_lighting_step(make_config):
    assert steps(small(make_config, max_lighting=0.0))[0].lighting is None


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
    wanted = {"fused": [], "fastai": ["TrainOnly"]}[engine]
    assert sorted(names) == sorted([*wanted, "IntToFloatTensor", "Standardise"])
    held = [type(t).__name__ for f in dls.after_batch.fs if type(f).__name__ == "TrainOnly" for t in f.tfms]
    assert len(held) == {"fused": 0, "fastai": 3}[engine], held
    assert {"fused": "Fused", "fastai": "Presize"}[engine] in [type(t).__name__ for t in dls.after_item.fs]
    assert [t.order for t in dls.after_batch.fs] == sorted(t.order for t in dls.after_batch.fs)
    order = [names.index(name) for name in ("IntToFloatTensor", *wanted, "Standardise")]
    assert order == sorted(order)


# The item steps


ITEM_STEPS = {
    "fastai": (lambda record: Presize(24, record), (24, 24, 3)),
    "fused": (lambda record: Fused(24, record, Geometry()), (3, 16, 16)),
}


@pytest.mark.parametrize("engine", ITEM_STEPS)
def test_training_images_are_cut_at_random_and_others_as_the_model_sees_them(pictures, engine):
    image, record = pictures.noise(60, 40), Preprocess(16)
    make, shape = ITEM_STEPS[engine]
    step = make(record)
    crops = [np.asarray(step(image, split_idx=0)) for _ in range(10)]
    assert {c.shape for c in crops} == {shape}
    assert len({c.tobytes() for c in crops}) > 1
    np.testing.assert_array_equal(np.asarray(step(image, split_idx=1)), np.asarray(record.fit(image)))


@pytest.mark.parametrize("engine", ITEM_STEPS)
def test_the_place_of_a_crop_comes_from_pythons_random_state(pictures, engine):
    step = ITEM_STEPS[engine][0](Preprocess(16))
    set_seed(4)
    first = np.asarray(step(pictures.noise(60, 40), split_idx=0))
    set_seed(4)
    np.testing.assert_array_equal(first, np.asarray(step(pictures.noise(60, 40), split_idx=0)))


DETAIL = {
    "fastai": (lambda record: Presize(160, record), (200, 160)),
    "fused": (lambda record: Fused(160, record, Geometry(min_scale=0.16, max_zoom=1.2)), (100, 80)),
    "fused, all of it": (lambda record: Fused(160, record, Geometry(min_scale=0.01)), (200, 160)),
}


@pytest.mark.parametrize("engine", DETAIL)
def test_a_photograph_is_decoded_no_finer_than_its_split_needs(tmp_path, pictures, engine):
    pictures.picture(400, 320).save(tmp_path / "a.jpg")
    record, (make, size) = Preprocess(20), DETAIL[engine]
    step = OpenImage(make(record), record)
    assert step(tmp_path / "a.jpg", split_idx=0).size == size
    assert step(tmp_path / "a.jpg", split_idx=1).size == decode(tmp_path / "a.jpg", record.decode_pixels).size
    assert record.size <= min(step(tmp_path / "a.jpg", split_idx=1).size) < 80


def test_smaller_training_images_are_decoded_coarser(tmp_path, pictures):
    pictures.picture(400, 320).save(tmp_path / "a.jpg")
    item = Fused(160, Preprocess(100), Geometry())
    step = OpenImage(item, item.preprocess)
    assert (item.detail, step(tmp_path / "a.jpg", split_idx=0).size) == (125, (200, 160))
    item.resize(50)
    assert (item.detail, step(tmp_path / "a.jpg", split_idx=0).size) == (63, (100, 80))


def test_what_names_a_step_in_the_summary_says_what_it_holds(make_config):
    assert "Brightness" in presize.TrainOnly([Brightness(), Contrast()]).name
