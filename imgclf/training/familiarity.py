"""Whether the last layers of a pretrained body suit the images.

``train.freeze_to``, ``train.lr``, ``train.ema`` and ``augment.p_affine`` depend on it.

The first layers of a network know edges and textures, the last ones the things in the photographs it was trained on
(Yosinski et al. 2014). Where a probe is better off one stage earlier, the images show other things: then there is more
to change than a little (docs/recipe.md).
"""

from imgclf.data.suited import Familiar

# Of the loss with the last stage. Letters were at 0.7, drawings and photographs of 32 pixels at 0.9 to 1.05,
# photographs of 128 pixels and more at 1.1 to 3.
CLEARLY, HARDLY = 0.9, 1.1
# Images to pass by in training, where the last layers are hardly of more use: with 3,000 and 4,000 most sets ended
# worse with all layers training.
MANY = 5000


def told(last: float, before: float, passing: int) -> tuple[Familiar, list[str]]:
    """Whether the images are familiar, by a probe's loss on the last stage and on the one before; what to tell.

    Args:
        passing: Images of all training steps together.
    """
    familiar: Familiar
    if before < CLEARLY * last:
        familiar, what = False, "were made for other images"
    elif before < HARDLY * last and passing >= MANY:
        familiar, what = "hardly", f"hardly know such images better than earlier ones, and {passing:,} will pass by"
    else:
        familiar, what = True, "know such images"
    losses = f"a probe's cross-validated loss is {last:.3f}, {before:.3f} one stage earlier"
    return familiar, [f"the body's last layers {what}: {losses} (train.freeze_to, train.lr, train.ema: auto)"]
