"""Names as a picture shows them: short, and drawn literally."""

from collections.abc import Sequence
from typing import Any

NONE = "(no label)"


def plain(text: str) -> str:
    """Any name as Matplotlib draws it literally: no formulas between dollars, no control characters."""
    printable = "".join(c if c.isprintable() else "�" for c in text)
    return printable.replace("$", r"\$") or " "


def legend(text: str) -> str:
    """Any name as a legend shows it: Matplotlib leaves out those that begin with an underscore."""
    return plain(text.lstrip("_"))


def short(text: str, most: int = 24) -> str:
    """``text`` with its middle left out where it is long: names of one kind often differ at the end."""
    half = most // 2
    return plain(text if len(text) <= most else f"{text[:half]}…{text[-(most - half - 1) :]}")


def label_and_pred(row: dict[str, Any]) -> tuple[str, str]:
    """Label and prediction of a row of ``top_losses``; of several labels first those that the other side lacks."""
    if "labels" not in row:
        return short(row["label"], 18), short(row["pred"], 18)
    return fitting(row["labels"], row["preds"]), fitting(row["preds"], row["labels"])


def fitting(names: Sequence[str], others: Sequence[str] = (), most: int = 30) -> str:
    """As many of ``names`` as fit into ``most`` characters and how many more, those not among ``others`` first.

    >>> fitting(["car", "dog", "person"], others=["car"], most=11)
    'dog, person +1'
    """
    ordered = [short(name, 18) for name in sorted(names, key=lambda name: name in others)]
    n = max((i for i in range(1, len(ordered) + 1) if len(", ".join(ordered[:i])) <= most), default=0)
    rest = f" +{len(ordered) - n}" if n < len(ordered) else ""
    return f"{', '.join(ordered[:n])}{rest}" if ordered else NONE
