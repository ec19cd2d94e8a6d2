"""The recipe's rates after the probe: higher with larger batches, and for a body that has to change more."""

import pytest

from imgclf.training import recipe_lr


@pytest.mark.parametrize(("batch_size", "lr"), [(8, 2e-4), (16, 2.8e-4), (32, 4e-4), (64, 5.7e-4)])
def test_it_grows_with_the_root_of_the_batch_size(batch_size, lr):
    found, what = recipe_lr.after_probe(batch_size, 10_000, head_trains=False, familiar=True)
    assert found == lr and what.endswith(f"batches of {batch_size}")
    assert recipe_lr.after_probe(batch_size, 10_000, head_trains=True, familiar=True)[0] == pytest.approx(
        lr / 2, rel=0.03
    )


def test_with_few_images_to_pass_by_a_body_changes_little_though_it_was_made_for_others():
    limit = recipe_lr.UNFAMILIAR_IMAGES
    few, enough, none = (recipe_lr.after_probe(8, n, head_trains=False, familiar=False) for n in (limit - 1, limit, 0))
    assert few[0] == recipe_lr.OUT_OF_FOLD and "999 images to pass by" in few[1]
    assert enough[0] == none[0] == recipe_lr.UNFAMILIAR
