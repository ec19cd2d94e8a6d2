"""What stands beside the figures of a model in a terminal: what it has to beat, more images, images unlike its own."""

from dataclasses import asdict
from typing import Any

from imgclf.data.neighbours import Neighbours
from imgclf.results import unlike
from imgclf.results.baselines import NAMES, always


def baselines(found: dict[str, Any] | None) -> list[str]:
    """A line for the commonest class, one for each probe, and how the model compares; why, where there is no probe."""
    if found is None:
        return []
    common = found["majority"]
    lines = [f"baseline: {always(common)} {_share(common)}"]
    probe = found["probe"]
    if probe is None:
        return [*lines, f"no frozen-feature probe: {found['why']}"]
    shown = [f"{name} {_share(probe[key])}" for key, name in NAMES.items() if key in probe]
    return [
        *lines,
        f"baseline: {' and '.join(shown)}, on features of the body as it began",
        probe["paired"]["sentence"],
        *([alike] if (alike := found.get("neighbours", {}).get("sentence")) else []),
    ]


def neighbours(found: Neighbours) -> dict[str, Any]:
    """For a report: what was found of training images in the order of their names, with a sentence if it is bad."""
    sentence = (
        "Images that follow each other by name show the same things: the most similar other training image has another "
        f"label for {found.error_with:.1%} of them, and for {found.error_without:.1%} once neighbours are left out. "
        "The validation images were drawn at random from among such neighbours, so the figures here are too good for "
        "pictures of new things. Name what belongs together (data.group_by), or say yourself what validates."
    )
    return {**asdict(found), "sentence": sentence if found.same_things else ""}


def more_images(found: dict[str, Any] | None) -> list[str]:
    """The advice of the learning curve, if there is one."""
    return [] if found is None or found["figure"] is None else [found["advice"]]


def unlike_images(found: dict[str, Any] | None) -> list[str]:
    """How many images are unlike those of training, and the farthest of them where they are too many."""
    if found is None:
        return []
    far = [f"{row['path']} ({row['distance']:.2f})" for row in found["farthest"][:3]] if unlike.warning(found) else []
    return [unlike.sentence(found) + (f"; the farthest: {', '.join(far)}" if far else "")]


def _share(found: dict[str, Any]) -> str:
    """Accuracy with its interval, and mAP where images have several labels."""
    a = found["accuracy"]
    of_labels = f", mAP {found['mAP']:.3f}" if found.get("mAP") is not None else ""
    return f"{a['value']:.3f} ({a['low']:.3f}–{a['high']:.3f}, n={a['n']}){of_labels}"
