"""The findings of `imgclf data check` for people."""

from typing import Any

from rich.console import Group
from rich.text import Text

from imgclf.console import table

SHOWN = 20  # lines of a list


def check_tables(found: dict[str, Any]) -> Group:
    """All findings: counts first, then a list for each kind of problem."""
    classes = sorted(found["classes"].items(), key=lambda item: item[1])
    shown = classes if len(classes) <= SHOWN else [*classes[:10], *classes[-10:]]
    parts: list[Any] = [
        f"{found['n_images']} images in {len(classes)} classes ({found['layout']})",
        table(None, ["class", "images"], shown),
        *_facts(found),
    ]
    lists = _problems(found)
    for title, lines in lists.items():
        if lines:
            parts += [f"\n{title}: {len(lines)}", *(f"  {line}" for line in lines[:SHOWN])]
            parts += [f"  … and {len(lines) - SHOWN} more (--json lists all)"] * (len(lines) > SHOWN)
    if not any(lists.values()):
        parts.append("no problem found")
    parts += ["", *found["sheets"]] if found.get("sheets") else []
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts))  # names are no markup


def _problems(found: dict[str, Any]) -> dict[str, list[str]]:
    signs = {"exact": " = ", "near": " ~ "}
    sizes = found["sizes"]
    return {
        "unreadable": [f"{b['path']}: {b['reason']}" for b in found["bad"]],
        "the same picture more than once": [" = ".join(group) for group in found["duplicates"]],
        "nearly the same picture": [" ~ ".join(group) for group in found["near_duplicates"]],
        "in training and held out": [signs[k["kind"]].join([k["train"], k["valid"]]) for k in found["leaks"]],
        "the same picture with two labels": [signs[c["kind"]].join(c["paths"]) for c in found["conflict_details"]],
        "left out of training, as it is held out (data.on_leak: fix)": found["fixed"].get("left_out", []),
        "extremely wide or tall": [f"{e['path']}: {e['width']} x {e['height']}" for e in sizes["extreme"]],
        "suffix of another format": [f"{w['path']}: {w['format']}" for w in found["wrong_suffix"]],
        "warnings": found["warnings"],
    }


def _facts(found: dict[str, Any]) -> list[str]:
    """One line each on sizes and on what is unusual in kind."""
    lines, sizes = [], found["sizes"]
    if sizes["width"]:
        spreads = ", ".join(f"{name} {_range(sizes[name])}" for name in ("width", "height"))
        lines.append(f"\nsize: {spreads} pixels; width / height {_range(sizes['aspect'])}")
    odd = {mode: n for mode, n in found["modes"].items() if mode != "RGB"}
    kinds = [f"{n} {mode}" for mode, n in odd.items()]
    turned = sum(found["exif_orientations"].values())
    kinds += [f"{turned} turned by EXIF"] * bool(turned)
    kinds += [f"{len(found['animations'])} with several frames or pages"] * bool(found["animations"])
    return lines + [f"not plain RGB: {', '.join(kinds)}"] * bool(kinds)


def _range(spread: dict[str, float]) -> str:
    low, middle, high = (
        f"{spread[k]:.3g}" if spread[k] < 100 else f"{spread[k]:.0f}" for k in ("min", "median", "max")
    )
    return low if low == high else f"{low} to {high} (median {middle})"
