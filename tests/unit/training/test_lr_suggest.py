import math

import pytest

from imgclf.training import lr

LRS = [1e-7 * (1e8 ** (i / 99)) for i in range(100)]


def curve(low=1e-4, floor=0.5):
    """High, then falling from ``low`` on, then exploding."""
    return [
        3.0 if x < low else floor + 2.5 / (1 + (x / low)) if x < 1 else floor + 2.5 / (1 + 1 / low) + (x - 1)
        for x in LRS
    ]


def test_a_clear_valley_is_chosen():
    found = lr.suggest(LRS, curve())
    assert 1e-4 < found.chosen < 0.1
    assert found.chosen == pytest.approx(found.suggestions["valley"], rel=0.01)
    assert "valley" in found.reason
    assert all(value is not None for value in found.suggestions.values())


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_a_short_sweep_falls_back_and_says_so(n):
    found = lr.suggest(LRS[:n], curve()[:n])
    assert found.chosen == lr.FALLBACK_LR
    assert "fallback" in found.reason


def test_missing_suggestions_are_named():
    found = lr.suggest(LRS[:12], curve()[:12])
    assert found.suggestions["slide"] is None
    assert any("'slide'" in note for note in found.notes)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_after_the_first_that_is_not_finite_do_not_count(bad):
    losses = curve()
    cut = [*losses[:90], bad, *losses[91:]]
    assert lr.suggest(LRS, cut).suggestions == lr.suggest(LRS[:90], losses[:90]).suggestions


def test_a_rate_no_one_would_use_is_not_chosen():
    losses = [math.log10(x) + 10 for x in reversed(LRS)]  # falls from the very first step to the last
    losses = [1.0] * 95 + losses[95:]
    found = lr.suggest(LRS, losses)
    assert lr.SANE[0] <= found.chosen <= lr.SANE[1]


def test_a_sweep_once_unfrozen_has_its_own_fallback_and_trusts_lower_rates():
    low = [x / 1000 for x in LRS]
    found = lr.suggest(low, curve(), fallback=1e-3, sane=lr.SANE_UNFROZEN)
    assert found.chosen == pytest.approx(found.suggestions["valley"], rel=0.01)
    assert found.chosen < lr.SANE[0]
    assert lr.suggest(low[:3], curve()[:3], fallback=1e-3).chosen == 1e-3
