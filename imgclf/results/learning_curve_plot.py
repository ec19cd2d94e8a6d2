"""The learning curve of the frozen-feature probe as a picture."""

from pathlib import Path
from typing import Any

from imgclf.results import plots


def learning_curve_plot(found: dict[str, Any], path: Path) -> Path:
    """The error over the number of training images with its interval, and where a power law would take it.

    Args:
        found: As ``learning_curve.curve`` gives it, with figures.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure, (axes,) = plots.figure_of(7, 4.2)
    rows, doubled = found["points"], found["doubled"]
    images, errors = [row["images"] for row in rows], [row["error"] for row in rows]
    band = [row["low"] for row in rows], [row["high"] for row in rows]
    axes.fill_between(images, *band, color=plots.BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    axes.plot(images, errors, "o-", color=plots.BLUE, label=f"{found['classifier']} on frozen features")
    if doubled:
        ahead = [images[-1], doubled["images"]], [errors[-1], doubled["error"]]
        axes.plot(*ahead, "--", color=plots.RED, label="if it goes on by the power law")
        reach = [[doubled["error"] - doubled["low"]], [doubled["high"] - doubled["error"]]]
        axes.errorbar(ahead[0][1:], ahead[1][1:], [[max(0, d) for d in side] for side in reach], fmt="o", capsize=4,
                      color=plots.RED)  # fmt: skip
    ticks = [*images, *([doubled["images"]] if doubled else [])]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.set(title="Would more images help?", xlabel="training images (logarithmic)", ylabel=found["figure"])
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return plots.save_figure(figure, path)
