"""Accuracy before and after, on arrays; the latency of something that takes no time."""

import numpy as np

from imgclf.shipping import effects


def test_accuracy_counts_what_is_lost_and_gained():
    expected = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    told = effects.accuracy(expected, found, np.array([0, 0, 1, 1]))
    assert (told["model"]["value"], told["export"]["value"], told["difference"]) == (0.75, 0.75, 0.0)
    assert (told["lost"], told["gained"], told["model"]["n"]) == (1, 1, 4)
    assert told["model"]["low"] < 0.75 < told["model"]["high"]


def test_with_several_labels_all_of_them_have_to_be_right():
    expected = np.array([[0.9, 0.1], [0.9, 0.6]])
    found = np.array([[0.9, 0.5], [0.9, 0.6]])
    told = effects.accuracy(expected, found, np.array([[1, 0], [1, 1]]), at=(0.5, 0.5))
    assert (told["model"]["value"], told["export"]["value"], told["lost"]) == (1.0, 0.5, 1)


def test_latency_gives_the_batches_it_names():
    sizes = []
    told = effects.latency(lambda images: sizes.append(images.shape) or images, 4)
    assert set(sizes) == {(1, 4, 4, 3), (32, 4, 4, 3)} and max(map(sizes.count, set(sizes))) <= effects.MOST_RUNS + 1
    assert told.keys() == {"batch_1", "batch_32", "side", "device", "cores"} and told["batch_1"] >= 0
