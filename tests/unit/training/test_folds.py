import torch
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.samples import Sample
from imgclf.training.folds import FOLDS, folds, groups

CLASSES = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@given(CLASSES)
def test_every_class_is_spread_over_the_folds(targets):
    y = torch.tensor(targets)
    fold = folds(y)
    for c in set(targets):
        sizes = torch.bincount(fold[y == c], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60), st.booleans())
def test_a_group_is_in_one_fold_unless_nothing_could_be_held_out(images, several):
    y, group = (torch.tensor(numbers) for numbers in zip(*images, strict=True))
    targets = torch.nn.functional.one_hot(y, 4) * (torch.arange(len(y)) % 3 > 0)[:, None] if several else y
    fold = folds(targets, group)
    assert fold.shape == y.shape and set(fold.tolist()) <= set(range(FOLDS))
    seen = [set(group[y == c].tolist()) for c in y.tolist()]  # of each image, the groups that show its class
    some = len(set(group.tolist())) > 1 if several else sum(len(s) > 1 for s in seen) >= len(y) / 2
    if some:
        assert all(len(fold[group == g].unique()) == 1 for g in group.unique())
    else:
        assert torch.equal(fold, folds(targets))


def test_groups_share_the_folds_evenly():
    y = torch.arange(4).repeat_interleave(60)
    group = torch.arange(40).repeat_interleave(6)  # ten of each class
    sizes = torch.stack([torch.bincount(folds(y, group)[y == c], minlength=FOLDS) for c in range(4)])
    assert torch.equal(sizes, torch.full((4, FOLDS), 12))


def test_groups_are_those_of_the_samples():
    items = [Sample(str(i), ("a",), group=g) for i, g in enumerate(["film", None, "film", "other", None])]
    assert groups(items).tolist() == [0, 1, 0, 2, 3]
    assert groups([Sample("0", ("a",))]) is None
