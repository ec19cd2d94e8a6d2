import numpy as np
import pytest

from imgclf.results.sparkplot import letter, shown_range, sparkline, terminal_plot

LRS = np.logspace(-7, 1, 100)
LOSSES = 4 - 3 / (1 + np.exp(-2 * (np.log10(LRS) + 3))) + np.maximum(np.log10(LRS), 0) ** 2 * 500
SUGGESTIONS = {"valley": 1e-3, "slide": 1e-1, "minimum": 3e-2, "steep": 1.01e-3}


@pytest.mark.parametrize("width", range(30, 121, 6))
def test_width_is_respected_and_used(width):
    lines = terminal_plot(LRS, LOSSES, SUGGESTIONS, width).splitlines()
    assert max(map(len, lines)) == width
    assert all(line == line.rstrip() for line in lines)
    falling = terminal_plot(LRS, LOSSES[::-1], {}, width).splitlines()
    assert max(map(len, falling)) == len(falling[-3 if width < 40 else -4]) == width, "the curve reaches the edge"


@pytest.mark.parametrize("height", [4, 12, 20])
def test_height_letters_and_legend(height):
    lines = terminal_plot(LRS, LOSSES, SUGGESTIONS, 60, height).splitlines()
    curve = "".join(line[8:] for line in lines[:height])
    assert all(curve.count(mark) == 1 for mark in "vsmt"), "two at the same place stay both readable"
    below = "\n".join(lines[height:])
    assert "1e-07" in below
    assert all(f"{letter(name)} {name} {lr:.1e}" in below for name, lr in SUGGESTIONS.items())


def test_letters_stand_where_the_rates_are():
    curve = terminal_plot(LRS, LOSSES, {"slide": 1.0}, 88 + 8, 10).splitlines()[:10]
    column = next(line.index("s") for line in curve if "s" in line)
    # log10 of the rate lies 7 of the 8 decades to the right; 8 characters are the scale.
    assert column - 8 == pytest.approx(7 / 8 * 87, abs=1)


def test_it_falls_then_rises():
    lines = terminal_plot(LRS, LOSSES, {}, 60).splitlines()[:12]
    drawn = [[i for i, line in enumerate(lines) if line[column : column + 1].strip()] for column in range(8, 60)]
    assert drawn[0][0] < 6, "starts high"
    assert max(drawn[35]) == 11, "reaches the bottom"


def test_the_explosion_leaves_the_picture():
    low, high = shown_range(LOSSES)
    assert low == LOSSES.min()
    assert 4 < high < 6 < LOSSES.max()
    assert shown_range(np.array([2.0, 2.0])) == (1.5, 2.5)
    assert shown_range(np.array([1.0, 2.0, 3.0])) == (1.0, 3.0)


def test_points_that_are_no_numbers_are_skipped():
    broken = LOSSES.copy()
    broken[[0, 50, 98]] = np.nan, np.inf, -np.inf
    keep = np.isfinite(broken)
    assert terminal_plot(LRS, broken, SUGGESTIONS, 70) == terminal_plot(LRS[keep], LOSSES[keep], SUGGESTIONS, 70)


@pytest.mark.parametrize("losses", [[], [1.0], [np.nan] * 3, [np.inf, 1.0, np.nan]])
def test_nothing_to_draw(losses):
    assert "nothing to draw" in terminal_plot(LRS[: len(losses)], losses, SUGGESTIONS, 60)


def test_odd_suggestions():
    plot = terminal_plot(LRS, LOSSES, {"own": 1e-2, "far": 1e9, "zero": 0.0}, 60)
    assert plot.splitlines()[-1].startswith("O own 1.0e-02")
    assert terminal_plot(LRS, LOSSES * 1e12, SUGGESTIONS, 10).count("\n") > 12


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([None], ""),
        ([3.0], "▅"),
        ([1.0, 1.0], "▅▅"),
        ([2.0, 1.0], "█▁"),
        ([0.0, None, 7.0], "▁ █"),
        (list(range(8)), "▁▂▃▄▅▆▇█"),
        ([*range(8), *range(8, 16)], "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"),
    ],
)
def test_a_line_of_values(values, line):
    assert sparkline(values) == line


def test_a_long_line_is_made_of_means():
    assert sparkline([0.0, 2.0, 1.0, 3.0, None, None, 9.0, 11.0], width=4) == "▁▂ █"
