"""Contact sheets of what `imgclf data check` found: one PNG a kind, a row a group."""

from pathlib import Path
from typing import Any

from imgclf.data.images import decode
from imgclf.data.samples import Samples
from imgclf.results.lettering import plain
from imgclf.results.plots import figure_of, save_figure

ROWS = 24  # groups on a sheet
COLUMNS = 5  # pictures of a group
TILE = 240  # pixels a picture is shown at, at most
INCHES = 2.4
NAME_WIDTH = 42  # characters in a line under a picture

Group = list[str]


def write(report: dict[str, Any], samples: Samples, folder: Path) -> list[Path]:
    """A sheet for each kind of finding there is; bad files cannot be shown.

    Args:
        report: As ``checks.report`` gives it.
        samples: The readable ones: where the files are, and their labels.
    """
    label = {s.path: ", ".join(s.labels) or "no label" for s in samples.items}
    side = {leak[name]: name for leak in report["leaks"] for name in ("train", "valid")}
    extreme = [e["path"] for e in report["sizes"]["extreme"]]
    kinds: dict[str, tuple[str, list[Group]]] = {
        "duplicates": ("The same picture more than once", report["duplicates"]),
        "near_duplicates": ("Nearly the same picture", report["near_duplicates"]),
        "leaks": ("In training and held out as well", [[k["train"], k["valid"]] for k in report["leaks"]]),
        "conflicts": ("The same picture with different labels", report["conflicts"]),
        "aspect": ("Extremely wide or tall", _rows(extreme)),
    }
    made = []
    for name, (title, groups) in kinds.items():
        if groups:
            marks = side if name == "leaks" else {}
            text = {path: f"{label[path]}{f' ({marks[path]})' if path in marks else ''}" for g in groups for path in g}
            number = _shown(len(extreme), ROWS * COLUMNS) if name == "aspect" else _shown(len(groups), ROWS)
            made.append(_sheet(f"{title}: {number}", groups[:ROWS], text, samples.root, folder / f"{name}.png"))
    return made


def _rows(paths: list[str]) -> list[Group]:
    return [paths[i : i + COLUMNS] for i in range(0, len(paths), COLUMNS)]


def _shown(n: int, most: int) -> str:
    return str(n) if n <= most else f"the first {most} of {n}"


def _sheet(title: str, groups: list[Group], text: dict[str, str], root: Path, path: Path) -> Path:
    columns = min(COLUMNS, max(len(group) for group in groups))
    width = max(INCHES * columns, INCHES * 2)
    figure, panels = figure_of(width, (INCHES + 0.6) * len(groups) + 0.5, len(groups), columns)
    figure.suptitle(title, fontsize=11)
    for axes in panels:
        axes.set(xticks=(), yticks=())
        axes.set_axis_off()
    for row, group in enumerate(groups):
        for column, name in enumerate(group[:columns]):
            axes = panels[row * columns + column]
            more = [f"… and {len(group) - columns} more"] * (column == columns - 1 and len(group) > columns)
            axes.set_title("\n".join(map(plain, [text[name], *_folded(name), *more])), fontsize=7)
            axes.imshow(_tile(root / name))
    return save_figure(figure, path)


def _tile(path: Path) -> Any:
    picture = decode(path, at_least=TILE)
    picture.thumbnail((TILE, TILE))
    return picture


def _folded(name: str) -> list[str]:
    """A path in lines that fit under a picture, its end rather than its beginning."""
    shown = name if len(name) <= 2 * NAME_WIDTH else f"…{name[1 - 2 * NAME_WIDTH :]}"
    return [shown[i : i + NAME_WIDTH] for i in range(0, len(shown), NAME_WIDTH)]
