"""What was planned, and why: phases, epochs, learning rates."""

from typing import Any

from imgclf.results import html
from imgclf.results.sections import pictures
from imgclf.results.sections.content import Content


def section(content: Content) -> str:
    """The phases as a table, the reasons, the rates over the steps, and the finder's curves."""
    reason = html.paragraph(_sentence(content.plan["reason"])) if content.plan else ""
    parts = [
        reason,
        _phases(content.plan) if content.plan else "",
        html.definitions(content.rates, "facts"),
        _decisions(content.decisions),
        pictures.figures(content, "schedule", "lr_find", "lr_find_unfrozen"),
    ]
    return html.section("The plan", "\n".join(part for part in parts if part))


def _decisions(made: list[str]) -> str:
    items = "".join(f"<li>{html.name(one)}</li>" for one in made)
    return html.folded("Decided for you, with the keys that decide otherwise", f"<ul>{items}</ul>" if items else "")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _phases(plan: dict[str, Any]) -> str:
    rows = [
        [phase["name"], _trains(phase), phase["epochs"], phase["steps"], _rates(phase), _moves(phase)]
        for phase in plan["phases"]
    ]
    columns = ["phase", "trains", "epochs", "steps", "highest learning rate, first to last layers", "how it moves"]
    return html.table(columns, rows, numeric={2, 3})


def _trains(phase: dict[str, Any]) -> str:
    first = phase["freeze_to"]
    named = {0: "all layers", -1: "the head", -2: "the head and the layer group before it"}
    return named.get(first, f"layer groups from {first} on")


def _rates(phase: dict[str, Any]) -> str:
    if phase["curve"]["shape"] == "closed_form":
        return "none: computed"
    return " · ".join(f"{lr:.2g}" for lr in dict.fromkeys(phase["lrs"])) or "not found"


def _moves(phase: dict[str, Any]) -> str:
    curve = phase["curve"]
    share = f"{100 * curve['pct_start']:.0f} % of the steps"
    moves = {
        "closed_form": "the best linear head in closed form",
        "flat_cos": f"level for {share}, then down to nothing",
        "one_cycle": f"up from 1/{curve['div']:g} of it for {share}, then down to nothing",
    }[curve["shape"]]
    sizes = list(dict.fromkeys(phase.get("sizes") or ()))
    return moves + (f"; images of {', then '.join(map(str, sizes))} pixels" if sizes else "")
