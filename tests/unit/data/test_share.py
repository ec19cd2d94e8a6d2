"""Which images a process reads: those that one process would take at a larger batch size, in the same order."""

from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.placed import share


@given(n=st.integers(0, 60), bs=st.integers(1, 7), world=st.integers(2, 5))
def test_the_steps_of_all_processes_are_those_of_one(n, bs, world):
    order = list(range(n))
    shares = [share(order, bs, rank, world, drop_last=False) for rank in range(world)]
    assert len({len(mine) for mine in shares}) == 1  # or one would wait for ever
    steps = -(-len(shares[0]) // bs)
    assert steps == -(-n // (bs * world))
    for step in range(steps):
        gathered = [i for mine in shares for i in mine[step * bs : (step + 1) * bs]]
        wanted = order[step * bs * world : (step + 1) * bs * world]
        assert gathered[: len(wanted)] == wanted  # what is cut off was read to fill up
        assert len(gathered) - len(wanted) < world


@given(n=st.integers(0, 60), bs=st.integers(1, 7), world=st.integers(2, 5))
def test_training_drops_the_step_that_is_not_whole(n, bs, world):
    shares = [share(list(range(n)), bs, rank, world, drop_last=True) for rank in range(world)]
    assert {len(mine) for mine in shares} == {n // (bs * world) * bs}


def test_a_process_alone_reads_everything():
    assert share([3, 1, 2], 2, 0, 1, drop_last=True) == [3, 1, 2]
