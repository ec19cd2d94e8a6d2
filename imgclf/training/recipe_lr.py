"""The learning rates of the recipe, where none is given and none is looked for (docs/recipe.md). They are Adam's."""

import math

from imgclf.data.suited import Familiar

PROBE, OUT_OF_FOLD = 1e-4, 2e-4  # after the probe: the head trains along; it stays, with out-of-fold heads beside it
BATCH = 8  # images a step, for which these two are meant
# Where the body was made for other images, if at least so many pass by in training: with fewer it does not settle.
UNFAMILIAR, UNFAMILIAR_IMAGES = 2e-3, 1000
HARDLY = 1e-3  # where its last layers hardly suit the images (``familiarity``)
RANDOM = 4e-3  # where a ResNet begins at random weights


def after_probe(batch_size: int, passing: int, head_trains: bool, familiar: Familiar | None) -> tuple[float, str]:
    """The rate of a body whose head begins at the probe, and what for.

    Args:
        batch_size: Images a step, of all processes together.
        passing: Images of all training steps together; 0: there are none yet, and who adds some may well want many.
        head_trains: The head trains along.
        familiar: The body's last layers suit the images, so that they are to change little; None: not known, taken so.
    """
    what = "for a head that begins at the probe"
    if familiar == "hardly":
        return HARDLY, f"{what} of a body that hardly knows such images"
    few = 0 < passing < UNFAMILIAR_IMAGES
    if familiar is False:
        what += " of a body that was made for other images"
        if not few:
            return UNFAMILIAR, what
        what += f", with {passing:,} images to pass by, too few for a higher one"
    return _for_batches(PROBE if head_trains else OUT_OF_FOLD, batch_size), f"{what}, and batches of {batch_size}"


def _for_batches(lr: float, size: int) -> float:
    """Adam's rate grows with the root of the batch size (Malladi et al. 2022, *On the SDEs and Scaling Rules …*).

    Larger batches are fewer steps, in which the body would hardly change otherwise.
    """
    return float(f"{lr * math.sqrt(size / BATCH):.1e}")
