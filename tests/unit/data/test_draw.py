"""Groups stay whole, folds cover everything once, and no class leaves training."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from imgclf.data import draw
from imgclf.data.samples import Sample

groups = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=2, max_size=80)
seeds = st.integers(0, 2**32 - 1)


def make(rows, grouped=True):
    return [Sample(f"{i}.jpg", (c,), None, f"g{g}" if grouped else None) for i, (c, g) in enumerate(rows)]


@settings(max_examples=150, deadline=None)
@given(groups, st.floats(0.05, 0.9), st.booleans(), seeds, st.randoms())
def test_groups_stay_on_one_side_whatever_the_order(rows, pct, stratify, seed, shuffler):
    items = make(rows)
    made = draw.hold_out_groups(items, pct, stratify, seed)
    assert sorted(s.path for s in made) == sorted(s.path for s in items)
    sides = {(s.group, s.split) for s in made}
    assert len(sides) == len({s.group for s in items})
    assert {s.label for s in made if s.split == "train"} == {s.label for s in items}
    mixed = list(items)
    shuffler.shuffle(mixed)
    assert draw.hold_out_groups(mixed, pct, stratify, seed) == made


def test_many_small_groups_are_held_out_in_proportion():
    items = make([("ab"[g % 2], g) for g in range(100) for _ in range(5)])
    held = Counter(s.label for s in draw.hold_out_groups(items, 0.2, True, 1) if s.split == "valid")
    assert all(abs(held[c] - 50) <= 5 for c in "ab")


@settings(max_examples=100, deadline=None)
@given(groups, st.integers(2, 5), st.booleans(), st.booleans(), seeds)
def test_folds_partition_what_can_validate(rows, k, grouped, stratify, seed):
    items = make(rows, grouped)
    times = Counter()
    for number in range(1, k + 1):
        made = draw.fold(items, k, number, stratify, seed)
        assert {s.label for s in made if s.split == "train"} == {s.label for s in items}
        if grouped:
            assert len({(s.group, s.split) for s in made}) == len({s.group for s in items})
        times.update(s.path for s in made if s.split == "valid")
    assert set(times.values()) <= {1}
    if stratify and not grouped:
        n = Counter(s.label for s in items)
        assert {s.path for s in items if n[s.label] > 1} == set(times)
