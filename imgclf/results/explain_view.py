"""An explanation for people: a table in the terminal, and a picture with the heat maps beside the image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from imgclf.console import table
from imgclf.results.explain import Explanation
from imgclf.results.lettering import NONE, short
from imgclf.results.plots import figure_of, save_figure

SHOWN = 5  # classes, besides the label
SINGLE = ("logit", "exp", "softmax", "log_likelihood", "gradient", "calibrated")
MULTI = ("there", "logit", "sigmoid", "loss", "gradient", "calibrated", "threshold", "given")
HEADS = {"log_likelihood": "log-likelihood", "there": "true", "exp": "exp(logit)"}
OPACITY = 0.7  # of the hottest place
INCHES = 2.9


def explanation_table(found: Explanation) -> Group:
    """How one image's activations become a loss."""
    single = found.task == "single"
    columns = SINGLE if single else MULTI
    rows = [[row["class"], *(_cell(row[key]) for key in columns)] for row in shown(found)]
    heads = ["class" if single else "label", *(HEADS.get(key, key) for key in columns)]
    left = len(found.rows) - len(rows)
    parts: list[RenderableType] = [Text(headline(found), style="bold"), table(None, heads, rows)]
    for column in parts[1].columns[1:]:  # type: ignore[union-attr]
        column.justify = "right"
    lines = [f"and {left} classes with lower logits"] if left else []
    lines += [loss_sentence(found)] if found.loss is not None else []
    lines += [f"heat map: {found.picture}"] if found.picture else []
    return Group(*parts, *(Text(line) for line in lines))


def headline(found: Explanation) -> str:
    """The file, its label and where that is from, the answer."""
    label = "label unknown" if found.labels is None else f"label {_names(found.labels)} (from {found.label_from})"
    verdict = {None: "", True: ", right", False: ", wrong"}[found.right]
    return f"{found.path}: {label}; prediction {_names(found.preds)} {found.prob:.3f}{verdict}"


def loss_sentence(found: Explanation) -> str:
    """The loss, before and after the temperature, and how it is made."""
    after = f"{found.loss:.4f} after calibration (temperature {found.temperature:.3g})"
    if found.task == "multi":
        return f"loss: the mean over {len(found.rows)} decisions, {found.plain_loss:.4f}; {after}"
    assert found.labels is not None
    prob = next(row["softmax"] for row in found.rows if row["class"] == found.labels[0])
    return f"loss: -log {prob:.4g} = {found.plain_loss:.4f}; {after}"


def shown(found: Explanation) -> list[dict[str, Any]]:
    """The classes worth a line: the highest logits, and every label."""
    labels = found.labels or ()
    return [row for i, row in enumerate(found.rows) if i < SHOWN or row["class"] in labels]


def top_losses_table(rows: Sequence[Explanation]) -> RenderableType:
    """One line for each of a run's worst images."""
    cells = [
        [f"{r.loss:.3f}", f"{r.prob:.3f}", _names(r.labels or ()), _names(r.preds), r.path, r.picture or "-"]
        for r in rows
    ]
    return table(None, ["loss", "prob", "label", "prediction", "image", "heat map"], cells)


def picture(found: Explanation, image: np.ndarray, maps: np.ndarray, path: Path) -> Path:
    """The image as the model sees it, a heat map for each class of ``found.heatmaps``, and the activations.

    Args:
        image: (S, S, 3) uint8.
        maps: (K, S, S), 0 to 1.
    """
    n = 2 + len(maps)
    figure, panels = figure_of(INCHES * n, INCHES + 0.5, columns=n)
    label = "unknown" if found.labels is None else _names(found.labels)
    loss = "" if found.loss is None else f"; loss {found.loss:.2f}"
    title = f"{Path(found.path).name}: label {label}; prediction {_names(found.preds)} ({found.prob:.2f}){loss}"
    figure.suptitle(short(title, 40 * n), fontsize=10)
    for axes in panels[:-1]:
        axes.set(xticks=(), yticks=())  # unseen ticks would be laid out all the same
        axes.axis("off")
        axes.imshow(image)
    panels[0].set_title("what the model sees", fontsize=9)
    for axes, heat, name in zip(panels[1:], maps, found.heatmaps, strict=False):
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=OPACITY * heat)
        nothing = "" if heat.any() else " (nothing)"
        axes.set_title(f"speaks for {short(name, 24)}{nothing}", fontsize=9)
    _bars(panels[-1], found)
    return save_figure(figure, path)


def _bars(axes: Any, found: Explanation) -> None:
    rows = shown(found)[::-1]
    colours = ["tab:orange" if row["class"] in (found.labels or ()) else "tab:blue" for row in rows]
    axes.barh(range(len(rows)), [row["logit"] for row in rows], color=colours)
    axes.set_ylim(-0.6, max(len(rows), 4) - 0.4)  # two bars are not to fill the panel
    axes.set_yticks(range(len(rows)), [short(row["class"], 22) for row in rows], fontsize=8)
    for i, row in enumerate(rows):
        axes.annotate(
            f"{row['calibrated']:.3f}", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title("logit; at the right: calibrated" + (" (label: orange)" if found.labels else ""), fontsize=9)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or NONE


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "-", True: "yes", False: "no"}[value]
    return f"{value:.4f}" if 1e-4 <= abs(value) < 1e5 or value == 0 else f"{value:.2e}"
