"""Imbalance: the weights that make up for it, and what is said about it."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from fastai.vision.all import set_seed
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data import balance, loaders
from imgclf.data.balance import CAP, inverse_frequency, positive_weights
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset
from imgclf.errors import ConfigError


def samples(**counts: int) -> list[Sample]:
    return [Sample(f"{name}{i}.png", (name,), "train") for name, n in counts.items() for i in range(n)]


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 5000), min_size=2, max_size=8))
def test_weights_are_one_on_average_capped_and_larger_for_rarer_classes(counts):
    weights = inverse_frequency(counts)
    assert sum(weights[c] * n for c, n in counts.items()) == pytest.approx(sum(counts.values()))
    assert max(weights.values()) <= CAP * min(weights.values()) * (1 + 1e-9)
    names = sorted(counts, key=lambda c: counts[c])
    assert all(weights[a] >= weights[b] - 1e-9 for a, b in itertools.pairwise(names))


def test_below_the_cap_every_class_weighs_the_same_in_sum():
    counts = {"a": 60, "b": 30, "c": 12}
    weights = inverse_frequency(counts)
    assert len({round(weights[c] * n, 6) for c, n in counts.items()}) == 1


def test_the_note_says_the_ratio_and_nothing_of_it_where_all_are_alike(make_config):
    uneven = balance.resolve(make_config(), samples(cat=12, dog=2), ["cat", "dog"]).note
    assert uneven.startswith("balance: none; 'cat' has 12 training images, 'dog' 2: 6.0 to 1. Rare")
    hardly = balance.resolve(make_config(), samples(cat=1001, dog=1000), ["cat", "dog"]).note
    assert hardly.startswith("balance: none; 'cat' has 1,001 training images, 'dog' 1,000: 1.0 to 1")
    even = balance.resolve(make_config(), samples(cat=7, dog=7), ["cat", "dog"]).note
    assert even == "balance: every class has 7 training images"


def test_positive_weights_are_negatives_to_positives():
    assert positive_weights({"often": 80, "half": 50, "rare": 20, "once": 1, "never": 0}, 100) == {
        "often": 1.0, "half": 1.0, "rare": 4.0, "once": CAP, "never": CAP,
    }  # fmt: skip


@pytest.mark.parametrize(("n", "suggests"), [(4, False), (5, True)])
def test_strong_imbalance_is_said_with_the_way_out(make_config, n, suggests):
    found = balance.resolve(make_config(), samples(a=n, b=1), ("a", "b"))
    assert f"'a' has {n} training images, 'b' 1: {n}.0 to 1" in found.note
    assert ("data.balance=sampler" in found.note) == suggests
    assert found.weights == {} and found.loss_weights == {} and found.sample_weights(samples(a=1)) is None


def test_each_kind_acts_in_its_own_place(make_config):
    data = samples(a=4, b=1)
    loss = balance.resolve(make_config(**{"data.balance": "loss"}), data, ("a", "b"))
    assert loss.loss_weights == pytest.approx({"a": 0.625, "b": 2.5})
    assert loss.sample_weights(data) is None
    sampler = balance.resolve(make_config(**{"data.balance": "sampler"}), data, ("a", "b"))
    assert sampler.loss_weights == {}
    assert sampler.sample_weights(data) == pytest.approx([0.625] * 4 + [2.5])
    assert "suggest" not in loss.note and "weights from 0.62 to 2.50" in loss.note


def test_a_sampler_is_refused_for_several_labels_an_image(make_config):
    data = [Sample("1.png", ("a", "b"), "train"), Sample("2.png", (), "train")]
    with pytest.raises(ConfigError, match="one label an image") as caught:
        balance.resolve(make_config(**{"data.balance": "sampler"}), data, ("a", "b"), multi_label=True)
    assert "data.balance=loss" in caught.value.hint
    found = balance.resolve(make_config(**{"data.balance": "loss"}), data, ("a", "b"), multi_label=True)
    assert found.counts == {"a": 1, "b": 1}


def test_the_figures_of_a_class_get_its_training_images_and_weight(make_config):
    rows = [{"class": "a", "recall": 1.0}, {"class": "b", "recall": 0.5}]
    none = balance.resolve(make_config(), samples(a=4, b=1), ("a", "b"))
    assert none.annotate(rows) == [{**rows[0], "n_train": 4}, {**rows[1], "n_train": 1}]
    loss = balance.resolve(make_config(**{"data.balance": "loss"}), samples(a=4, b=1), ("a", "b"))
    assert [row["weight"] for row in loss.annotate(rows)] == pytest.approx([0.625, 2.5])


@pytest.fixture
def build(tmp_path, pictures, make_config):
    """Loaders for 40 images of a and 8 of b."""
    train = samples(a=40, b=8)
    pictures.files(tmp_path, *(s.path for s in train), size=(8, 8))
    data = Dataset(tmp_path, ("a", "b"), tuple(train), (Sample("a0.png", ("a",), "valid"),))
    small = {"augment.size": 8, "augment.presize": 8, "data.batch_size": 8}
    return lambda **more: loaders.build(make_config(tmp_path, **small, **more), data, torch.device("cpu"))


def drawn(made, seed: int) -> list[int]:
    set_seed(seed)
    loaders.reseed(made.dls, seed)
    return torch.cat([y for _, y in made.dls.train]).tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_sampler_draws_rare_classes_as_often_and_the_same_for_the_same_seed(build, workers):
    made = build(**{"data.balance": "sampler", "data.workers": workers})
    first = drawn(made, 1)
    assert len(first) == 48
    assert first == drawn(made, 1) != drawn(made, 2)
    share = np.mean([drawn(made, seed) for seed in range(3 if workers else 12)])
    assert share == pytest.approx(0.5, abs=0.15)
    assert Counter(drawn(build(**{"data.workers": 0}), 1))[1] == 8


def test_an_image_drawn_twice_is_not_augmented_twice_the_same(build, monkeypatch):
    made = build(**{"data.balance": "sampler", "data.workers": 0})
    loaders.reseed(made.dls, 1)
    drawn = made.dls.train.get_idxs()
    assert len(set(drawn)) == len(drawn) == 48
    repeated = Counter(i % 48 for i in drawn)
    assert max(repeated.values()) > 1
    again = next(i for i in drawn if i >= 48)
    monkeypatch.setattr(made.dls.train, "after_item", lambda item: (random.random(), item[1]))
    (first, label), (second, same) = (made.dls.train.do_item(i) for i in (again % 48, again))
    assert label == same and first != second


def test_a_pass_that_begins_in_its_middle_draws_the_rest(build):
    made = build(**{"data.balance": "sampler", "data.workers": 0})
    loaders.reseed(made.dls, 1)
    whole = made.dls.train.get_idxs()
    loaders.reseed(made.dls, 1, first_batch=2)
    assert made.dls.train.get_idxs() == whole[16:]


def test_the_sampler_leaves_validation_alone(build):
    made = build(**{"data.balance": "sampler", "data.workers": 0})
    assert [y.tolist() for _, y in made.dls.valid] == [[0]]
