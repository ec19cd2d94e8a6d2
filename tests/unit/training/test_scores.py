"""Losses and metrics by name: defaults for each task, and what does not fit is refused."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from imgclf.errors import ConfigError
from imgclf.training import losses, scores


@pytest.mark.parametrize(("task", "first"), [("single", "error_rate"), ("multi", "average_precision")])
def test_the_default_metric_and_loss_fit_the_task(make_config, task, first):
    cfg = make_config()
    assert next(iter(scores.metrics(cfg, 3, task))) == first
    kind = {"single": "CrossEntropyLoss", "multi": "BCEWithLogitsLoss"}[task]
    assert type(losses.loss_func(cfg, ["a", "b"], task).func).__name__ == kind


@pytest.mark.parametrize(
    ("task", "key", "value", "fitting"),
    [
        ("multi", "train.metrics", ["error_rate"], "average_precision"),
        ("single", "train.metrics", ["average_precision"], "error_rate"),
        ("multi", "train.loss", "cross_entropy", "bce"),
    ],
)
def test_what_is_for_the_other_task_is_refused_and_the_fitting_ones_named(make_config, task, key, value, fitting):
    cfg = make_config(**{key: value})
    with pytest.raises(ConfigError, match=rf"{key}: .* is not for images with") as caught:
        scores.metrics(cfg, 3, task) if key == "train.metrics" else losses.loss_func(cfg, ["a", "b"], task)
    assert fitting in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unknown_metric_is_refused_before_the_task_is_known(make_config):
    with pytest.raises(ConfigError, match=r"no metric 'acuracy_multi'\. Did you mean 'accuracy_multi'"):
        scores.metric_names(make_config(**{"train.metrics": ["acuracy_multi"]}))


@pytest.mark.parametrize("name", [n for n, s in scores.METRICS.items() if "multi" in s.tasks])
def test_metrics_of_several_labels_take_images_and_labels_without_any(name):
    """The last label is on no image, the first image has no label; scikit-learn would warn, and count it as 0."""
    targets = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    logits = np.array([[0.2, -1, -2], [1, -2, 1], [-0.5, 2, -1], [-1, 0.3, -3]], np.float32)
    there, answers = targets[:, :2], logits[:, :2] >= 0
    expected = {
        "accuracy_multi": 9 / 12,
        "hamming_loss": 3 / 12,
        "average_precision": average_precision_score(there, logits[:, :2]),
        "f1_macro": f1_score(there, answers, average="macro"),
        "f1_micro": f1_score(targets, logits >= 0, average="micro"),
    }
    # Called by itself an accumulating metric takes what the learner would have made of the logits.
    raw = torch.tensor(logits)
    given = {"accuracy_multi": raw, "average_precision": raw.sigmoid()}.get(name, raw >= 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = float(scores.METRICS[name].make("multi")(given, torch.tensor(targets)))
    assert found == pytest.approx(expected[name])


def test_without_any_label_there_is_no_average():
    nothing = np.zeros((2, 3), int)
    assert np.isnan(scores.mean_average_precision(nothing, np.ones((2, 3))))
    assert np.isnan(scores.f1_macro(nothing, nothing))
