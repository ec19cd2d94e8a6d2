"""Pictures: plain data in, one PNG out.

Matplotlib's object-oriented interface only: no pyplot, no global state, no window. Colours are Okabe and
Ito's (2008), told apart by colour-blind readers too.
"""

import warnings
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgclf.console import logger
from imgclf.data.images import decode
from imgclf.results.lettering import label_and_pred, legend, short
from imgclf.results.sparkplot import finite_points, shown_range
from imgclf.runs import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
CYCLE = (ORANGE, GREEN, RED, PURPLE, SKY)
DPI = 120
ANNOTATED, NAMED = 20, 60  # most classes with a number in each cell, and with their names at the edges
LABELS = 40  # most bars
NOT_METRICS = frozenset(
    ["phase", "epoch", "epochs", "train_loss", "valid_loss", "lr", "seconds", "images_per_second", "best"]
)
# Asked for glyphs that DejaVu Sans lacks, where one is installed.
FALLBACK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"),
    *("Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS"),
)
THUMBNAIL = 320  # pixels


def lr_find_plot(
    lrs: Sequence[float],
    losses: Sequence[float],
    suggestions: dict[str, float],
    chosen: float | None,
    path: Path,
) -> Path:
    """The learning-rate finder's curve with each suggestion on it, and the chosen rate as a line."""
    figure, (axes,) = figure_of(7, 4.2)
    x, y = finite_points(lrs, losses)
    axes.set(title="Learning-rate finder", xlabel="learning rate (logarithmic)", ylabel="loss (smoothed)")
    if len(x) < 2:
        _say(axes, "fewer than two points with a finite loss")
        return save_figure(figure, path)
    axes.plot(10**x, y, color=BLUE)
    axes.set_xscale("log")
    low, high = shown_range(y)
    axes.set_ylim(low - (high - low) * 0.05, high + (high - low) * 0.05)
    for (name, lr), colour, marker in zip(suggestions.items(), CYCLE * 9, "osD^v" * 9, strict=False):
        if lr > 0:
            at = min(float(np.interp(np.log10(lr), x, y)), high)
            axes.plot([lr], [at], marker, color=colour, markersize=8, label=f"{legend(name)} {lr:.1e}")
    if chosen is not None and chosen > 0:
        axes.axvline(chosen, color=GREY, linestyle="--", linewidth=1, label=f"chosen {chosen:.1e}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", frameon=False)
    return save_figure(figure, path)


def history_plot(rows: list[dict[str, Any]], path: Path) -> Path:
    """Losses above, metrics below, over the epochs of all phases; a dotted line where a phase begins.

    Args:
        rows: Those of ``history.csv``: phase, epoch, train_loss, valid_loss, metrics; numbers or text.
    """
    metrics = [key for key in (rows[0] if rows else {}) if key not in NOT_METRICS]
    figure, panels = figure_of(7, 4.2 if not metrics else 6.2, rows=2 if metrics else 1)
    panels[0].set_title("Training", pad=18)  # above the names of the phases
    panels[0].set(ylabel="loss")
    _lines(panels[0], rows, {"train_loss": BLUE, "valid_loss": ORANGE})
    if metrics:
        _lines(panels[1], rows, dict(zip(metrics, (*CYCLE[1:], BLUE, GREY) * 9, strict=False)))
        panels[1].set(ylabel="metric")
    panels[-1].set_xlabel("epoch, over all phases")
    return save_figure(figure, path)


def confusion_plot(
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    path: Path,
    support: Sequence[int] | None = None,
    of: int | None = None,
) -> Path:
    """The confusion matrix, (C, C) counts with the truth in rows; coloured by the share of each true class.

    Args:
        support: The images of each class, where these are not all predictions; None: the sums of the rows.
        of: How many classes there are, if more than these.

    Up to 20 classes have their counts in the cells, up to 60 their names at the edges. The colours follow the
    square root of the share, so that rare mistakes can be seen.
    """
    from matplotlib.colors import PowerNorm

    counts = np.array(confusion, dtype=float)
    images = counts.sum(1) if support is None else np.array(support, dtype=float)
    shares = counts / np.maximum(images[:, None], 1)
    names = [short(name) for name in classes] if len(classes) <= NAMED else []
    side = float(np.clip(0.34 * len(classes), 3, 7 if len(classes) <= ANNOTATED else 10))
    room = 0.07 * max(map(len, names), default=2)  # inches for the names
    figure, (axes,) = figure_of(side + room + 1.8, side + room + 0.8)
    title = f"Confusion matrix: the {len(classes)} most confused of {of:,} classes" if of else "Confusion matrix"
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.set(title=title, xlabel="prediction", ylabel="label")
    if names:
        size = 9 if len(names) <= 40 else 7
        upright = room * len(names) > side * 0.8
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(classes) <= ANNOTATED:
        _counts(axes, counts, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.set_label("share of the label's images")
    return save_figure(figure, path)


def per_label_plot(per_class: list[dict[str, Any]], path: Path) -> Path:
    """Average precision and F1 of each label as bars, the worst above; at most 40, and none that no image has.

    Args:
        per_class: Rows of ``MultiEvaluation.per_class``.
    """
    judged = sorted((row for row in per_class if row["ap"] is not None), key=lambda row: row["ap"])
    shown = judged[:LABELS]
    names = [f"{short(row['class'])} ({row['n']})" for row in shown]
    figure, (axes,) = figure_of(7, 1.6 + 0.3 * max(len(shown), 4))
    cut = f"the {len(shown)} worst of {len(judged)} labels" if len(judged) > len(shown) else "worst first"
    axes.set(title=f"Labels, {cut}", xlabel="average precision, F1", xlim=(0, 1.02), ylabel="label (its images)")
    if not shown:
        _say(axes, "no image has a label")
        return save_figure(figure, path)
    at = np.arange(len(shown))
    axes.barh(at - 0.2, [row["ap"] for row in shown], 0.38, color=BLUE, label="average precision")
    axes.barh(at + 0.2, [row["f1"] for row in shown], 0.38, color=ORANGE, label="F1 at the label's threshold")
    axes.set_yticks(at, names, fontsize=9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save_figure(figure, path)


def reliability_plot(rows_before: list[dict[str, Any]] | None, rows_after: list[dict[str, Any]], path: Path) -> Path:
    """Accuracy over confidence: on the diagonal the model is as good as it says. Larger dots: more images.

    With several labels an image: how often a label is there over the probability given to it.

    Args:
        rows_before: Those of ``calibration.reliability`` without the temperature; None where it is unknown.
        rows_after: The same with it.
    """
    figure, (axes,) = figure_of(5.2, 5.2)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as good as it says")
    drawn = [("before calibration", rows_before, ORANGE, "s--"), ("calibrated", rows_after, BLUE, "o-")]
    for name, rows, colour, style in drawn:
        if rows:
            across, up = [r["confidence"] for r in rows], [r["accuracy"] for r in rows]
            share = np.array([r["n"] for r in rows]) / sum(r["n"] for r in rows)
            axes.plot(across, up, style, color=colour, linewidth=1, markersize=4, label=name)
            axes.scatter(across, up, 250 * share, color=colour, marker=style[0], alpha=0.6)
    axes.set(
        title="Reliability",
        xlabel="probability it gives",
        ylabel="how often it is right",
        xlim=(0, 1.02),
        ylim=(-0.02, 1.04),
    )
    axes.set_aspect("equal")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return save_figure(figure, path)


def top_losses_plot(top_losses: list[dict[str, Any]], root: Path, path: Path, n: int = 12) -> Path:
    """Thumbnails of the ``n`` images with the highest loss, under their labels, predictions and figures.

    Args:
        top_losses: Rows of ``top_losses`` of an evaluation.
        root: What their paths are relative to.
    """
    shown = top_losses[:n]
    columns = min(max(len(shown), 1), 4)
    lines = -(-len(shown) // columns) or 1
    figure, panels = figure_of(max(2.6 * columns, 5.2), 3 * lines + 0.5, rows=lines, columns=columns)
    several = any("labels" in row for row in shown)
    what = "labels / given labels, highest probability" if several else "label / prediction, its probability"
    figure.suptitle(f"Top losses: {what} / loss", fontsize=11)
    for axes in panels:
        axes.set(xticks=(), yticks=(), anchor="N")  # unseen ticks would be laid out all the same
        axes.axis("off")
    for axes, row in zip(panels, shown, strict=False):
        label, pred = label_and_pred(row)
        axes.set_title(f"{label} /\n{pred}\n{row['prob']:.2f} / {row['loss']:.2f}", fontsize=9)
        _thumbnail(axes, root / row["path"])
    return save_figure(figure, path)


def figure_of(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure of ``width`` by ``height`` inches and its panels, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=columns == 1)
    return figure, list(panels.flat)


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write the PNG, whole or not at all. Glyphs that no font has become boxes, without warnings."""
    from matplotlib.text import Text

    fonts = ["DejaVu Sans", *_fallback_fonts()]
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        return atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=DPI))


def _fallback_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in FALLBACK_FONTS if name in installed]


def _say(axes: "Axes", text: str) -> None:
    """A sentence where there is nothing to draw."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)


def _lines(axes: "Axes", rows: list[dict[str, Any]], colours: Mapping[str, str]) -> None:
    """One line for each column, with a gap where it holds no number; and where the phases begin."""
    from matplotlib.ticker import MaxNLocator

    for column, colour in colours.items():
        # Six digits: two passes over the same images differ by rounding, which is no rise to be drawn.
        values = [float(f"{_number(row.get(column)):.6g}") for row in rows]
        axes.plot(range(1, len(rows) + 1), values, "o-", color=colour, markersize=3.5, label=legend(column))
    for i, row in enumerate(rows):
        if i and row.get("phase") != rows[i - 1].get("phase"):
            axes.axvline(i + 0.5, color=GREY, linestyle=":", linewidth=1)
        if not i or row.get("phase") != rows[i - 1].get("phase"):
            name, over = short(str(row.get("phase", ""))), ("data", "axes fraction")
            axes.annotate(name, (i + 0.55, 1.01), xycoords=over, va="bottom", fontsize=8, color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, max(len(rows), 1) + 0.5)
    axes.grid(axis="y", alpha=0.3)
    if rows:
        axes.legend(frameon=False)
    else:
        axes.axis("off")
        _say(axes, "no epoch has finished yet")


def _number(value: Any) -> float:
    """A cell of a table as a number; NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return nan


def _counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    """The number of images in every cell that has any, light on dark cells."""
    for i, j in np.argwhere(counts > 0).tolist():
        colour = "white" if shares[i, j] > 0.3 else "black"
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=8)


def _thumbnail(axes: "Axes", path: Path) -> None:
    """The image, small; where it cannot be read a word instead: a picture is no place to fail."""
    try:
        image = decode(path, at_least=THUMBNAIL)
    except Exception as e:  # Pillow raises nearly anything on a damaged file
        logger.info("no thumbnail of %s: %s", path, e)
        _say(axes, "cannot be read")
        return
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    axes.imshow(np.asarray(image))
