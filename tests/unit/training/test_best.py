import math
from types import SimpleNamespace

import pytest

from imgclf.training.best import Best, KeepBest
from imgclf.training.features import Overhear
from imgclf.training.scores import Score

LOWER = Score(lambda: None, higher_is_better=False)
HIGHER = Score(lambda: None)


def keep(score, records):
    """Feed (phase, epoch, valid_loss, value) and return the best and how often it was kept."""
    kept = []
    best = KeepBest("metric", score, kept.append)
    best.learn = SimpleNamespace(heard=Overhear(exact=True))
    for phase, epoch, loss, value in records:
        best.phase = phase
        best.consider(loss, value, epoch)
    return best.best, len(kept)


def test_a_later_phase_does_not_overwrite_a_better_earlier_one():
    best, n = keep(LOWER, [("frozen", 1, 0.5, 0.10), ("unfrozen", 1, 0.6, 0.30), ("unfrozen", 2, 0.6, 0.20)])
    assert (best.phase, best.epoch, n) == ("frozen", 1, 1)


def test_the_lower_loss_decides_a_tie():
    best, n = keep(LOWER, [("frozen", 1, 0.5, 0.1), ("unfrozen", 1, 0.4, 0.1), ("unfrozen", 2, 0.45, 0.1)])
    assert (best.phase, best.epoch, n) == ("unfrozen", 1, 2)


def test_rounding_is_no_difference():
    """16 wrong of 153, as two passes of fastai over the same batches added them up."""
    best, n = keep(LOWER, [("probe", 1, 0.31, 0.10457515716552734), ("unfrozen", 1, 0.27, 0.10457516461610794)])
    assert (best.phase, best.valid_loss, n) == ("unfrozen", 0.27, 2)
    best, n = keep(LOWER, [("probe", 1, 0.27, 0.10457516461610794), ("unfrozen", 1, 0.31, 0.10457515716552734)])
    assert (best.phase, n) == ("probe", 1)


@pytest.mark.parametrize(("score", "better"), [(LOWER, 250_000), (HIGHER, 250_001)])
def test_one_image_of_a_million_is_one(score, better):
    worse = 500_001 - better
    best, _ = keep(score, [("probe", 1, 0.1, worse / 1e6), ("unfrozen", 1, 0.2, better / 1e6)])
    assert best.phase == "unfrozen"


def test_direction_is_the_metrics_own():
    records = [("frozen", 1, 0.5, 0.9), ("unfrozen", 1, 0.5, 0.8)]
    assert keep(HIGHER, records)[0].value == 0.9
    assert keep(LOWER, records)[0].value == 0.8


def test_nan_never_wins():
    best, _ = keep(
        LOWER, [("frozen", 1, math.nan, math.nan), ("unfrozen", 1, 2.0, 0.9), ("unfrozen", 2, 0.1, math.nan)]
    )
    assert (best.phase, best.epoch) == ("unfrozen", 1)


def test_a_run_from_before_another_metric_decided_goes_on_with_its_value_of_that_one():
    kept = KeepBest("metric", HIGHER, lambda learn: None)
    rows = [
        {"phase": "probe", "epoch": 1, "metric": 0.7, "former": 0.90},
        {"phase": "unfrozen", "epoch": 1, "metric": 0.6, "former": 0.91},
    ]
    kept.go_on(Best("unfrozen", 1, "former", 0.91, 0.3), rows)
    assert (kept.best.metric, kept.best.value, kept.best.epoch) == ("metric", 0.6, 1)
    kept.go_on(Best("unfrozen", 2, "former", 0.91, 0.3), rows)  # judged within an epoch that has no row yet
    assert kept.best is None
