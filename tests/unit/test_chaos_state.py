"""What scripts/chaos.py calls the same model."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from scripts.chaosing import state


def written(path, weight=1.0, **facts):
    described = {"arch": "resnet18", "metrics": {"ece": 0.19519840, "abstention": [0.5, 1]}} | facts
    save_file(
        {"weight": np.float32([weight, 2])}, path, metadata={"imgclf": json.dumps(described), "sha256": str(described)}
    )
    return path


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, []),
        ({"metrics": {"ece": 0.19519860, "abstention": [0.5, 1]}}, []),
        ({"metrics": {"ece": 0.1962, "abstention": [0.5, 1]}}, ["another description"]),
        ({"metrics": {"ece": 0.19519840, "abstention": [0.5]}}, ["another description"]),
        ({"arch": "resnet34"}, ["another description"]),
        ({"extra": 1}, ["another description"]),
        ({"weight": float(np.nextafter(np.float32(1), np.float32(2)))}, ["other weights"]),
        ({"weight": 3.0, "arch": "resnet34"}, ["other weights", "another description"]),
    ],
)
def test_weights_to_the_last_bit_and_figures_but_for_their_last_digits(tmp_path, other, expected):
    whole = written(tmp_path / "whole.safetensors")
    assert state._other(written(tmp_path / "run.safetensors", **other), whole) == expected
