"""The risk-coverage curve as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgclf.results import plots
from imgclf.results.abstention import Choice, Curve, at_most

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
APART = 0.06  # of the width: names nearer to each other would run together


def risk_coverage_plot(of: Curve, choices: Sequence[Choice], path: Path) -> Path:
    """The share of wrong answers over the share of images answered, with its upper bound and the thresholds chosen."""
    from matplotlib.ticker import NullLocator

    figure, (axes,) = plots.figure_of(7, 4.4)
    coverage, wrong, bound = of.answered / of.n, of.wrong / of.answered, at_most(of.wrong, of.answered)
    axes.fill_between(coverage, wrong, bound, color=plots.BLUE, alpha=0.15, linewidth=0, label="up to the 95 % bound")
    axes.plot(coverage, wrong, color=plots.BLUE, label="wrong answers here")
    axes.plot(coverage, bound, color=plots.BLUE, linewidth=0.8)
    lowest = max(float(bound.min()) / 4, TICKS[0])
    across, up = [choice.coverage.value for choice in choices], [choice.error.high for choice in choices]
    axes.plot(across, up, "o", color=plots.RED, markersize=5, label="thresholds kept, by probability")
    for i, choice in enumerate(choices):
        if choice.threshold > 0 and (i == 0 or across[i] - across[i - 1] >= APART):
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 8}
            axes.annotate(f"{choice.threshold:.3f}", (across[i], up[i]), (-4, 5), **above)
    axes.set_yscale("symlog", linthresh=lowest, linscale=0.5)
    ticks = [0.0, *(tick for tick in TICKS if tick >= lowest)]
    axes.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(title="I don't know: fewer answers, fewer wrong ones", xlim=(0, 1.01), ylim=(0, 1.0))
    axes.set(xlabel="share of images answered", ylabel="share of answers that are wrong")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return plots.save_figure(figure, path)
