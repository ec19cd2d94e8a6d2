"""Whether the last layers of a pretrained body suit the images.

``train.freeze_to``, ``train.lr``, ``train.ema`` and ``augment.p_affine`` depend on it.

The first layers of a network know edges and textures, the last ones the things in the photographs it was trained on
(Yosinski et al. 2014). Where a probe is better off one stage earlier, the images show other things: then there is more
to change than a little (docs/recipe.md).
"""

CLEARLY = 0.9  # of the loss with the last stage: letters were at 0.7, photographs at 1.05 and more


def told(last: float, before: float) -> tuple[bool, list[str]]:
    """Whether the images are familiar, by a probe's loss on the last stage and on the one before; what to tell."""
    familiar = before >= CLEARLY * last
    what = "know such images" if familiar else "were made for other images"
    losses = f"a probe's cross-validated loss is {last:.3f}, {before:.3f} one stage earlier"
    return familiar, [f"the body's last layers {what}: {losses} (train.freeze_to, train.lr, train.ema: auto)"]
