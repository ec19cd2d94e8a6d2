import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.folds import folds, named
from imgclf.data.samples import Sample

PARTS = 5


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_every_class_is_spread_over_the_parts(targets):
    y = np.array(targets)
    fold = folds(y, PARTS)
    for c in set(targets):
        sizes = np.bincount(fold[y == c], minlength=PARTS)
        assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60), st.booleans())
def test_a_group_is_in_one_part_unless_nothing_could_be_held_out(images, several):
    y, group = (np.array(numbers) for numbers in zip(*images, strict=True))
    targets = np.eye(4, dtype=int)[y] * (np.arange(len(y)) % 3 > 0)[:, None] if several else y
    fold = folds(targets, PARTS, group)
    assert fold.shape == y.shape and set(fold.tolist()) <= set(range(PARTS))
    shown = [set(group[y == c].tolist()) for c in y.tolist()]  # of each image, the groups that show its class
    heeded = len(set(group.tolist())) > 1 if several else sum(len(s) > 1 for s in shown) >= len(y) / 2
    if heeded:
        assert all(len(set(fold[group == g].tolist())) == 1 for g in set(group.tolist()))
    else:
        assert (fold == folds(targets, PARTS)).all()


def test_groups_share_the_parts_evenly():
    y, group = np.repeat(np.arange(4), 60), np.repeat(np.arange(40), 6)  # ten groups of each class
    fold = folds(y, PARTS, group)
    assert all(np.bincount(fold[y == c], minlength=PARTS).tolist() == [12] * PARTS for c in range(4))


def test_groups_are_those_of_the_samples():
    items = [Sample(str(i), ("a",), group=g) for i, g in enumerate(["film", None, "film", "other", None])]
    assert named(items).tolist() == [0, 1, 0, 2, 3]
    assert named([Sample("0", ("a",))]) is None
