"""How much of an image the model sees: all of the centre square, or less and so larger (``augment.crop_pct``).

ImageNet's networks were trained on random crops, and judged on the centre 224 of 256 pixels: objects the size they
knew (Touvron et al. 2019, *Fixing the train-test resolution discrepancy*). The whole square shows them smaller, at 128
pixels by half. Whether that matters more than the edges depends on the images, so the probe decides (docs/recipe.md).
"""

from collections.abc import Mapping

USUAL = 0.875  # of the shorter side, where the model's input is as large as in its pretraining
LEAST = 0.75  # or little is left of what is near the edges: nearly half of the square's area is gone
CLEARLY = 0.99  # of the loss with all of the square: less of an image only where that helps
# Where the body knows no such images, objects of the size it knows are no reason, and the edges are worth learning:
# clothes were at 0.98, and far worse off without their edges in the end; letters, in wide margins, were at 0.91.
MORE_CLEARLY = 0.95


def candidates(size: int, pretrained_at: int) -> tuple[float, ...]:
    """The shares worth a look, for an input of ``size`` pixels and weights from images of ``pretrained_at``.

    All of the square, and the share at which objects are as large as when the weights were judged; at least ``LEAST``.
    """
    share = max(LEAST, USUAL * size / pretrained_at)
    return (1.0,) if share >= 1 else (1.0, share)


def told(found: Mapping[float, float], clearly: float = CLEARLY) -> tuple[float, list[str]]:
    """The share with the lowest loss, all of the square unless another is clearly lower; and what to tell the user.

    Args:
        clearly: The most that another may have of the loss with all of the square.
    """
    share = min(found, key=lambda share: found[share])
    if found[share] > clearly * found[1.0]:
        share = 1.0
    others = ", ".join(f"{loss:.3f} with {_part(other)}" for other, loss in found.items() if other != share)
    text = f"framing: {_part(share)}; a probe's cross-validated loss is {found[share]:.3f}, {others}"
    return share, [f"{text} (augment.crop_pct: auto)"]


def _part(share: float) -> str:
    return "the whole centre square" if share == 1 else f"the centre {share:.3g} of the shorter side"
