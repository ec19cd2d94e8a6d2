"""The learning rate over the steps of a plan, as fastai's ``fit_one_cycle`` and ``fit_flat_cos`` move it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.results.plots import BLUE, CYCLE, GREY, figure_of, save_figure

DIV_FINAL = 1e5  # of both, where nothing else is asked for: the last rate is the highest by this
MOST_POINTS = 5_000_000  # of a plot: of no real plan, but a damaged one may speak of any number of steps
MOST_LINES = 4  # layer groups drawn; of more, evenly chosen ones


def shares(curve: dict[str, Any], positions: np.ndarray) -> np.ndarray:
    """The learning rate as a share of its highest, at places of a phase from 0 to 1.

    Args:
        curve: ``asdict`` of a plan's curve: ``shape``, ``pct_start``, ``div``.
    """
    first, rest = curve["pct_start"], 1 - curve["pct_start"]
    start = 1.0 if curve["shape"] == "flat_cos" else 1 / curve["div"]
    up = _cosine(start, 1.0, positions / first) if first else np.ones_like(positions)
    down = _cosine(1.0, 1 / DIV_FINAL, (positions - first) / rest) if rest else np.ones_like(positions)
    return np.where(positions < first, up, down)


def _cosine(start: float, end: float, at: np.ndarray) -> np.ndarray:
    return np.asarray(start + (1 + np.cos(np.pi * (1 - at.clip(0, 1)))) * (end - start) / 2)


def rates(plan: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The learning rates of all steps (T,) and layer groups (T, G), and the steps at which phases begin.

    Args:
        plan: As a run's manifest has it. Phases without steps, or whose rate was never found, are passed over.
    """
    parts, begins, n = [], [], 0
    for phase in plan["phases"]:
        if phase["steps"] and phase["lrs"]:
            place = np.arange(phase["steps"]) / phase["steps"]
            parts.append(shares(phase["curve"], place)[:, None] * np.array(phase["lrs"], dtype=float))
            begins.append(n)
            n += phase["steps"]
    return (np.concatenate(parts) if parts else np.empty((0, 0))), np.array(begins, dtype=int)


def schedule_plot(plan: dict[str, Any], path: Path) -> Path | None:
    """The rate of each layer group over all steps; None where there are none, or more than any training has."""
    from matplotlib.ticker import MaxNLocator

    if sum(phase["steps"] * len(phase["lrs"]) for phase in plan["phases"]) > MOST_POINTS:
        return None
    lrs, begins = rates(plan)
    if not len(lrs):
        return None
    figure, (axes,) = figure_of(7, 3.4)
    axes.set(xlabel="training step, over all phases", ylabel="learning rate")
    groups = shown_groups(lrs)
    for group, colour in zip(groups, (BLUE, *CYCLE), strict=False):
        label = group_name(group, lrs.shape[1]) if len(groups) > 1 else "all layers that train"
        axes.plot(np.arange(1, len(lrs) + 1), lrs[:, group], color=colour, label=label)
    names = [phase["name"] for phase in plan["phases"] if phase["steps"] and phase["lrs"]]
    for begin, name in zip(begins.tolist(), names, strict=True):
        if begin:
            axes.axvline(begin + 0.5, color=GREY, linestyle=":", linewidth=1)
        axes.annotate(
            name, (begin + 0.5, 1.01), xycoords=("data", "axes fraction"), va="bottom", fontsize=8, color=GREY
        )
    axes.set_title("Learning rate over the steps", pad=18)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yscale("log")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    return save_figure(figure, path)


def shown_groups(lrs: np.ndarray) -> Sequence[int]:
    """Which layer groups get a line, the head first; those that move as one before them get none."""
    groups = sorted({int(i) for i in np.linspace(0, lrs.shape[1] - 1, min(lrs.shape[1], MOST_LINES)).round()})
    chosen: list[int] = []
    for group in reversed(groups):
        if not any(np.array_equal(lrs[:, group], lrs[:, other]) for other in chosen):
            chosen.append(group)
    return chosen


def group_name(group: int, of: int) -> str:
    """What the layers of a group are called in a picture."""
    return "head" if group == of - 1 else f"layer group {group + 1} of {of}"
