"""What a run's result says where a figure cannot be had."""

import json

import numpy as np

from imgclf.results.evaluate import Predictions, evaluate
from imgclf.runs import Run
from imgclf.workflow.train import TrainResult


def test_what_is_no_number_is_null_in_json(tmp_path):
    """No validation image has a label, and none is given one: there is no average precision and no F1."""
    none = np.zeros((4, 2))
    found = evaluate(Predictions(tuple("abcd"), none - 5, none, ("x", "y"), 1.0, "multi"))
    result = TrainResult(Run(tmp_path), "finished", ("x", "y"), 8, 4, "resnet18", False, 1, {}, found, 0.1, 1.0, 1.0)
    metrics = json.loads(json.dumps(result.to_dict(), allow_nan=False))["metrics"]
    assert (metrics["mAP"]["value"], metrics["macro_f1"]["value"]) == (None, None)
    assert metrics["accuracy"]["value"] == 1
