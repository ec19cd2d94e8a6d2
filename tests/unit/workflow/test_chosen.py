"""Which images stand for all: as many as asked for, from the first to the last part of the list."""

from hypothesis import given
from hypothesis import strategies as st

from imgclf.workflow.export import chosen_of


@given(n=st.integers(1, 2000), most=st.integers(1, 600))
def test_the_chosen_are_spread_evenly(n, most):
    found = chosen_of(range(n), most)
    assert len(found) == min(n, most) and found[0] == 0
    gaps = [b - a for a, b in zip(found, [*found[1:], n], strict=True)]
    assert max(gaps) - min(gaps) <= 1


def test_all_and_none():
    assert chosen_of((1, 2, 3), None) == (1, 2, 3)
    assert chosen_of((), 5) == []
