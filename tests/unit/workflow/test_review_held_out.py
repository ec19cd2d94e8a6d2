"""Which images judge a label: never those of the same group."""

import numpy as np

from imgclf.data.samples import Sample
from imgclf.workflow.review import held_out


def test_a_group_does_not_vouch_for_its_own_wrong_label():
    """Twenty things in two classes, six pictures of each, in no order; one thing's six labels are all wrong."""
    rng = np.random.default_rng(0)
    thing = rng.permutation(np.arange(20).repeat(6))
    middles = rng.normal(size=(20, 16)) + 1.5 * (np.arange(20) % 2)[:, None]
    features = (middles[thing] + 0.05 * rng.normal(size=(120, 16))).astype(np.float32)
    targets = np.where(thing == 7, 1 - thing % 2, thing % 2)
    named = [
        Sample(f"{i}.png", (str(y),), "train", f"thing {t}")
        for i, (y, t) in enumerate(zip(targets, thing, strict=True))
    ]
    alone = [Sample(s.path, s.labels, "train") for s in named]
    by_others, by_all = (
        held_out(features, targets, items)[np.arange(120), targets][thing == 7] for items in (named, alone)
    )
    assert (by_others < 0.5).all() and by_others.mean() < by_all.mean() - 0.2
