"""Loaders: no batch of none or one, the right workers, and the same seed gives the same batches."""

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from fastai.vision.all import set_seed

from imgclf.data import loaders
from imgclf.data.images import Preprocess
from imgclf.data.loaders import Loaders
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path, pictures):
    """``dataset(n_train, n_valid)`` of two classes, PNG files of 20 x 14 pixels."""

    def make(n_train: int, n_valid: int = 4) -> Dataset:
        counts = {"train": n_train, "valid": n_valid}
        parts = {
            part: tuple(Sample(f"{part}/{i}.png", ("ab"[i % 2],), part) for i in range(n)) for part, n in counts.items()
        }
        pictures.files(tmp_path / "images", *(s.path for part in parts.values() for s in part), size=(20, 14))
        return Dataset(tmp_path / "images", ("a", "b"), **parts)

    return make


@pytest.fixture
def build(make_config):
    def run(data: Dataset, **settings) -> Loaders:
        small = {"augment.size": 8, "augment.presize": 12, "data.batch_size": 4, "data.workers": 0}
        return loaders.build(make_config(data.root, **{**small, **settings}), data, CPU)

    return run


@pytest.mark.parametrize(("n_train", "batch_size", "batches"), [(2, 2, 1), (3, 3, 1), (4, 4, 1), (5, 4, 1), (9, 4, 2)])
def test_fewer_images_than_a_batch_lower_the_batch_size(dataset, build, n_train, batch_size, batches):
    made = build(dataset(n_train))
    assert (made.batch_size, len(made.dls.train)) == (batch_size, batches)
    about_size = [note for note in made.notes if "batch size" in note]
    assert bool(about_size) == (batch_size < 4)
    assert all(f"there are {n_train} training images" in note for note in about_size)


@pytest.mark.parametrize("n_train", [5, 9, 13])
def test_training_never_gets_a_batch_of_one(dataset, build, n_train):
    assert {len(x) for x, _ in build(dataset(n_train)).dls.train} == {4}


def test_validation_sees_every_image_once_in_order(dataset, build):
    data = dataset(4, 9)
    targets = torch.cat([y for _, y in build(data).dls.valid])
    assert targets.tolist() == data.targets(data.valid)


@pytest.mark.parametrize(("batch_size", "judged"), [(2, 8), (16, 64), (40, 64), (80, 80)])
def test_validation_batches_are_larger_up_to_a_point(dataset, build, batch_size, judged):
    made = build(dataset(80), **{"data.batch_size": batch_size}).dls
    assert (made.train.bs, made.valid.bs, loaders.unaugmented(made).bs) == (batch_size, judged, judged)


def test_classes_keep_the_data_sets_order(dataset, build):
    assert list(build(dataset(4)).dls.vocab) == ["a", "b"]


def test_a_batch_is_normalised_and_of_the_final_size(dataset, build):
    x, y = build(dataset(4)).dls.train.one_batch()
    assert tuple(x.shape) == (4, 3, 8, 8)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64


def pixels_of(made: Loaders, data: Dataset) -> np.ndarray:
    mean, std = (np.array(v)[:, None, None] for v in (made.preprocess.mean, made.preprocess.std))
    x = torch.cat([x.as_subclass(torch.Tensor) for x, _ in made.dls.valid]).numpy()
    return ((x * std + mean) * 255).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_validation_pixels_are_those_of_prediction(dataset, build, workers, engine):
    data = dataset(4, 5)
    made = build(data, **{"data.workers": workers, "augment.engine": engine})
    wanted = np.stack([made.preprocess.load(data.path(s)) for s in data.valid])
    np.testing.assert_allclose(pixels_of(made, data), wanted, atol=0.01)


@pytest.mark.parametrize("rule", ["pad", "squish"])
def test_validation_pixels_follow_the_resize_rule(dataset, build, rule):
    data = dataset(4, 3)
    made = build(data, **{"augment.resize": rule})
    wanted = np.stack([Preprocess(8, rule).load(data.path(s)) for s in data.valid])
    np.testing.assert_allclose(pixels_of(made, data), wanted, atol=0.01)


def test_without_normalisation_pixels_are_left_between_0_and_1(dataset, build):
    made = build(dataset(4), **{"model.normalize": False})
    x, _ = made.dls.valid.one_batch()
    assert x.min() >= 0 and x.max() <= 1
    assert (made.preprocess.mean, made.preprocess.std) == ((0.0,) * 3, (1.0,) * 3)


def first_batch(made: Loaders, seed: int):
    set_seed(seed)
    loaders.reseed(made.dls, seed)
    return made.dls.train.one_batch()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_seed_gives_the_same_training_batch(dataset, build, workers):
    made = build(dataset(12), **{"data.workers": workers})
    x, y = first_batch(made, 1)
    x2, y2 = first_batch(made, 1)
    assert torch.equal(x, x2) and torch.equal(y, y2)
    x3, _ = first_batch(made, 2)
    assert not torch.equal(x, x3)


def order(made: Loaders) -> list[int]:
    return list(made.dls.train.get_idxs())


def test_reseeding_gives_the_same_order_whatever_happened_before(dataset, build):
    made = build(dataset(16))
    loaders.reseed(made.dls, 5)
    first = order(made)
    for _ in made.dls.train:
        pass
    assert order(made) != first
    loaders.reseed(made.dls, 5)
    assert order(made) == first
    again = build(dataset(16))
    loaders.reseed(again.dls, 5)
    assert order(again) == first
    loaders.reseed(made.dls, 6)
    assert order(made) != first


@pytest.mark.parametrize(
    ("workers", "size", "cores", "device", "expected"),
    [
        ("auto", 32, 8, "cpu", 0),
        ("auto", 64, 8, "cuda", 0),
        ("auto", 65, 4, "cpu", 4),
        ("auto", 224, 2, "cuda", 2),
        ("auto", 224, 99, "cpu", 8),
        ("auto", 224, 99, "cuda", 16),
        (3, 32, 1, "cpu", 3),
    ],
)
def test_workers_are_one_a_core_up_to_a_number_and_none_for_tiny_images(
    make_config, monkeypatch, workers, size, cores, device, expected
):
    monkeypatch.setattr(loaders, "cores", lambda: cores)
    monkeypatch.setattr(loaders.shared_memory, "free", lambda: None)
    cfg = make_config("/data", **{"data.workers": workers})
    assert loaders._workers(cfg, Preprocess(size), 1, torch.device(device)) == (expected, "")


def test_no_worker_is_started_that_would_have_no_batch(dataset, build):
    made = build(dataset(40, 3), **{"data.workers": 4, "data.batch_size": 8})
    assert [dl.fake_l.num_workers for dl in made.dls.loaders] == [4, 1]
    assert loaders.unaugmented(made.dls).fake_l.num_workers == 2  # 40 images in batches of 32
    assert loaders.unaugmented(made.dls, [1, 2]).fake_l.num_workers == 1


def test_nothing_is_written_into_the_data_folder(dataset, build):
    data = dataset(8)
    before = sorted(data.root.rglob("*"))
    for _ in build(data).dls.train:
        pass
    assert sorted(data.root.rglob("*")) == before


@pytest.mark.parametrize(("n_train", "expected"), [(6, 6), (100, 8), (244, 16), (735, 32), (1438, 64), (100_000, 64)])
def test_a_small_data_set_gets_small_batches(n_train, expected):
    size, note = loaders.choose_batch_size("auto", n_train)
    assert size == expected
    assert str(expected) in note


@pytest.mark.parametrize(("n_train", "expected"), [(100, 16), (244, 16), (735, 16), (1438, 32), (2000, 64)])
def test_from_random_weights_it_takes_more_steps(n_train, expected):
    assert loaders.choose_batch_size("auto", n_train, pretrained=False)[0] == expected
    assert loaders.choose_batch_size(64, n_train, pretrained=False)[0] == 64


def test_a_given_batch_size_is_never_changed_but_to_what_there_is():
    assert loaders.choose_batch_size(64, 244) == (64, "")
    assert loaders.choose_batch_size(64, 10)[0] == 10
    assert "instead of 64" in loaders.choose_batch_size(64, 10)[1]


@pytest.mark.parametrize("engine", ["fused", "fastai"])
def test_a_spawned_worker_can_unpickle_what_it_reads_with(dataset, build, engine):
    """As on macOS and Windows, and in each process of `--devices`; pickled here as for such a worker."""
    data = dataset(4)
    made = build(data, **{"data.workers": 1, "augment.engine": engine})
    other = pickle.loads(ForkingPickler.dumps(made.dls.valid.dataset))
    np.testing.assert_array_equal(np.asarray(other[0][0]), np.asarray(made.dls.valid.dataset[0][0]))
    assert other[1][1] == made.dls.valid.dataset[1][1] == data.targets(data.valid)[1]
    made.dls.train.place(1)
    assert b"rebuild" not in ForkingPickler.dumps(made.dls.train.fake_l.generator)  # no memory of a moment
