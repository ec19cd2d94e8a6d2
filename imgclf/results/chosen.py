"""What a reader must know about the images a figure was measured on: what was chosen on them."""

from typing import Literal

VALIDATION = {
    "single": "The best epoch and the temperature were chosen on the same images these figures are measured on: "
    "on new images expect slightly less.",
    "multi": "The best epoch, the temperature and the thresholds were chosen on the same images these figures are "
    "measured on: on new images expect slightly less.",
}
TRAINING = "The model was trained on the very images these figures are measured on: they say nothing about new ones."


def sentences(part: str | None, task: Literal["single", "multi"]) -> list[str]:
    """What to say of figures on a part of a run's split; nothing of ``test`` and of other images (None)."""
    return {"valid": [VALIDATION[task]], "train": [TRAINING]}.get(part or "", [])
