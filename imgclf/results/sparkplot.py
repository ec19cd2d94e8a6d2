"""Curves in a terminal, plain Unicode without colours: the learning-rate finder's, and a line of a few characters."""

from collections.abc import Mapping, Sequence

import numpy as np

LEAST_WIDTH = 30
GUTTER = 8  # columns for the loss scale at the left: seven characters and the axis
# The bit of each dot in a braille character, [row, column] (Unicode, block Braille Patterns: U+2800 + bits).
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = {"valley": "v", "slide": "s", "minimum": "m", "steep": "t"}

Cells = list[list[str]]


def terminal_plot(
    lrs: Sequence[float],
    losses: Sequence[float],
    suggestions: Mapping[str, float],
    width: int,
    height: int = 12,
) -> str:
    """The loss over the learning rate (logarithmic), in lines of at most ``width`` characters (>= 30).

    Args:
        suggestions: Learning rates by name; each is marked on the curve with its letter and named below.
        height: Lines of the curve itself.
    """
    x, y = finite_points(lrs, losses)
    if len(x) < 2 or x[0] == x[-1]:
        return "fewer than two points with a finite loss: nothing to draw"
    width = max(width, LEAST_WIDTH)
    cells = _curve(x, y, width - GUTTER, height)
    for name, lr in suggestions.items():
        if x[0] <= np.log10(max(lr, 1e-300)) <= x[-1]:
            _mark(cells, x, y, float(np.log10(lr)), letter(name))
    edges = _loss_scale(*shown_range(y), height)
    lines = [edge + "".join(row) for edge, row in zip(edges, cells, strict=True)]
    lines += [*_rate_scale(x, width - GUTTER), *_legend(suggestions, width)]
    return "\n".join(line.rstrip() for line in lines)


def sparkline(values: Sequence[float | None], width: int = 16) -> str:
    """How values went, a character for each, a gap for None; of more than ``width`` the means of neighbours."""
    given = np.array([np.nan if v is None else v for v in values], dtype=float)
    if len(given) > width:
        given = np.array([part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan
                          for part in np.array_split(given, width)])  # fmt: skip
    there = given[np.isfinite(given)]
    if not len(there):
        return ""
    low, high = float(there.min()), float(there.max())
    share = (given - low) / (high - low) if high > low else np.where(np.isfinite(given), 0.5, np.nan)
    return "".join(BLOCKS[round(s * (len(BLOCKS) - 1))] if np.isfinite(s) else " " for s in share.tolist())


def letter(name: str) -> str:
    """The letter that marks a suggestion."""
    return LETTERS.get(name) or name[:1].upper() or "?"


def finite_points(lrs: Sequence[float], losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """log10 of the learning rates, rising, and the losses; points where either is not finite left out."""
    x, y = np.array(lrs, dtype=float), np.array(losses, dtype=float)
    keep = np.isfinite(x) & np.isfinite(y) & (x > 0)
    order = np.argsort(x[keep], kind="stable")
    return np.log10(x[keep][order]), y[keep][order]


def shown_range(losses: np.ndarray) -> tuple[float, float]:
    """The losses worth showing, lowest and highest: the explosion at the end may leave the picture."""
    bottom = int(losses.argmin())
    low, start = float(losses[bottom]), float(losses[: bottom + 1].max())
    # A third above what was seen on the way down shows that it turns; all of it would flatten the rest.
    high = min(float(losses.max()), start + (start - low) / 3) if start > low else float(losses.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _curve(x: np.ndarray, y: np.ndarray, columns: int, height: int) -> Cells:
    """The curve as braille characters, two by four dots each, by [line][column]."""
    across = np.linspace(x[0], x[-1], 2 * columns)
    rows = _dot_row(np.interp(across, x, y), y, height)
    bits = np.zeros((height, columns), dtype=int)
    for i, row in enumerate(rows):
        # Downwards from the dot before, so that a steep curve has no gaps.
        before = rows[max(i - 1, 0)]
        for dot in range(min(row, before + 1), max(row, before - 1) + 1):
            if 0 <= dot < 4 * height:
                bits[dot // 4, i // 2] |= DOTS[dot % 4, i % 2]
    return [[chr(0x2800 + b) if b else " " for b in line] for line in bits.tolist()]


def _dot_row(values: np.ndarray, y: np.ndarray, height: int) -> list[int]:
    """The row of dots for each loss: 0 at the top; negative above the picture."""
    low, high = shown_range(y)
    share = (high - values) / (high - low)
    rows: list[int] = np.round(np.maximum(share, -1) * (4 * height - 1)).astype(int).tolist()
    return rows


def _mark(cells: Cells, x: np.ndarray, y: np.ndarray, at: float, mark: str) -> None:
    """Write a letter onto the curve, or above it where another letter stands already."""
    column = round((at - x[0]) / (x[-1] - x[0]) * (len(cells[0]) - 1))
    line = _dot_row(np.interp([at], x, y), y, len(cells))[0] // 4
    line = min(max(line, 0), len(cells) - 1)
    while line > 0 and cells[line][column].isascii() and cells[line][column] != " ":
        line -= 1
    cells[line][column] = mark


def _loss_scale(low: float, high: float, height: int) -> list[str]:
    """The left edge: the loss at the top, in the middle and at the bottom."""
    labelled = {0: high, height // 2: high - (high - low) * (height // 2) / (height - 1), height - 1: low}
    return [f"{_short(labelled[i]):>7}┤" if i in labelled else f"{'':7}│" for i in range(height)]


def _short(value: float) -> str:
    """A number in at most seven characters."""
    return next((s for s in (f"{value:.3g}", f"{value:.2g}", f"{value:.0e}") if len(s) <= 7), "")


def _rate_scale(x: np.ndarray, columns: int) -> list[str]:
    """The axis and the labels below it: powers of ten, or both ends where the range has fewer than two."""
    ticks = [float(n) for n in range(int(np.ceil(x[0])), int(np.floor(x[-1])) + 1)]
    ticks = ticks if len(ticks) > 1 else [float(x[0]), float(x[-1])]
    axis, labels, free = ["─"] * columns, [" "] * columns, 0
    for tick in ticks:
        column = round((tick - x[0]) / (x[-1] - x[0]) * (columns - 1))
        text = f"{10**tick:.0e}"
        start = min(max(column - len(text) // 2, 0), columns - len(text))
        if start >= free:
            axis[column] = "┴"
            labels[start : start + len(text)] = text
            free = start + len(text) + 1
    return [f"{'':7}└{''.join(axis)}", f"{'':8}{''.join(labels)}"]


def _legend(suggestions: Mapping[str, float], width: int) -> list[str]:
    """What the letters stand for, as many to a line as fit."""
    lines = [f"{'':8}learning rate (loss upwards)"] if width >= 40 else []
    line = ""
    for name, lr in suggestions.items():
        entry = f"{letter(name)} {name} {lr:.1e}"
        if line and len(line) + 3 + len(entry) > width:
            lines.append(line)
            line = ""
        line += ("   " if line else "") + entry[:width]
    return [*lines, line] if line else lines
