"""The schedule drawn is the one fastai trains with."""

import numpy as np
import pytest
from fastai.callback.schedule import combined_cos

from imgclf.results import cycle


def plan(*phases):
    return {"reason": "", "batches_per_epoch": 4, "phases": list(phases)}


def phase(name="unfrozen", shape="one_cycle", pct_start=0.3, div=5.0, steps=12, lrs=(1e-5, 1e-4, 1e-3)):
    return {"name": name, "steps": steps, "lrs": lrs, "curve": {"shape": shape, "pct_start": pct_start, "div": div}}


@pytest.mark.parametrize(
    ("shape", "pct_start", "div"),
    [("one_cycle", 0.3, 5.0), ("one_cycle", 0.25, 25.0), ("one_cycle", 0.99, 25.0), ("flat_cos", 0.75, 1.0)],
)
def test_every_step_has_the_rate_of_fastais_own_schedule(shape, pct_start, div):
    given = phase(shape=shape, pct_start=pct_start, div=div, steps=37)
    found, begins = cycle.rates(plan(given))
    assert found.shape == (37, 3)
    assert begins.tolist() == [0]
    for group, highest in enumerate(given["lrs"]):
        start = highest if shape == "flat_cos" else highest / div
        wanted = combined_cos(pct_start, start, highest, highest / cycle.DIV_FINAL)
        assert found[:, group] == pytest.approx([wanted(i / 37) for i in range(37)], rel=1e-5)


def test_phases_follow_each_other_and_those_without_steps_are_passed_over():
    probe = phase("probe", "closed_form", 0.0, 1.0, steps=0, lrs=(0.0, 0.0, 0.0))
    found, begins = cycle.rates(plan(probe, phase(steps=5), phase("extend1", steps=3), phase(lrs=(), steps=9)))
    assert (len(found), begins.tolist()) == (8, [0, 5])


def test_layer_groups_that_move_together_are_one_line():
    assert list(cycle.shown_groups(np.array([[1.0, 1.0, 2.0]]))) == [2, 1]
    assert list(cycle.shown_groups(np.array([[3.0, 3.0, 3.0]]))) == [2]
    assert len(cycle.shown_groups(np.arange(12.0)[None])) == cycle.MOST_LINES


def test_the_picture(tmp_path):
    assert cycle.schedule_plot(plan(phase()), tmp_path / "schedule.png").stat().st_size > 5_000
    assert cycle.schedule_plot(plan(phase(steps=0)), tmp_path / "none.png") is None
