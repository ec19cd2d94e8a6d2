"""Batches out of requests: who waits for whom, and what comes back to whom."""

import asyncio
import random
import time

import pytest

from imgclf.shipping.server.batching import Batcher


def run(scenario, handle, most=4, wait=0.2):
    """A scenario beside a working batcher."""

    async def both():
        batcher = Batcher(handle, most, wait)
        worker = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(scenario(batcher), 10)
        finally:
            worker.cancel()

    return asyncio.run(both())


def test_each_gets_its_own_result_in_batches_of_at_most_so_many():
    sizes = []

    def square(items):
        sizes.append(len(items))
        return [item**2 for item in items]

    async def scenario(batcher):
        async def one(i):
            await asyncio.sleep(random.random() / 100)
            return await batcher.put(i)

        return await asyncio.gather(*(one(i) for i in range(50)))

    assert run(scenario, square) == [i**2 for i in range(50)]
    assert sum(sizes) == 50 and max(sizes) <= 4


def test_a_batch_waits_only_for_what_was_announced():
    batches = []

    def seen(items):
        batches.append(list(items))
        return items

    async def scenario(batcher):
        loop = asyncio.get_running_loop()
        started = loop.time()
        await batcher.put("alone")
        lonely = loop.time() - started
        with batcher.coming(2) as arrived:
            first = batcher.put("first")
            arrived()
            await asyncio.sleep(0.02)
            second = batcher.put("second")
            arrived()
            await asyncio.gather(first, second)
        return lonely

    run(scenario, seen, wait=5)  # had it waited for nobody, the scenario would have run out of time
    assert batches == [["alone"], ["first", "second"]]


def test_clients_who_come_again_end_up_in_one_batch():
    """Not two halves in turns, each waiting while the other one is answered."""
    sizes = []

    def slow(items):
        sizes.append(len(items))
        time.sleep(0.05)
        return items

    async def scenario(batcher):
        async def client(i):
            await asyncio.sleep(0.01 * (i % 2))
            for _ in range(4):
                await batcher.put(i)

        await asyncio.gather(*(client(i) for i in range(6)))

    run(scenario, slow, most=8)
    assert sum(sizes) == 24
    assert sizes.count(6) >= 2


def test_a_batch_does_not_wait_for_ever_and_not_for_what_never_comes():
    async def scenario(batcher):
        with batcher.coming(2) as arrived:
            late = batcher.put("here")
            arrived()
            await late  # the second one never arrives
        with batcher.coming(5):
            pass
        return await batcher.put("after")

    assert run(scenario, list, wait=0.05) == "after"


def test_a_failure_reaches_those_of_its_batch_and_nobody_else():
    def picky(items):
        if "bad" in items:
            raise ValueError("bad")
        return items

    async def scenario(batcher):
        with pytest.raises(ValueError, match="bad"):
            await batcher.put("bad")
        return await batcher.put("good")

    assert run(scenario, picky) == "good"


def test_whoever_has_left_is_not_worked_for():
    handled = []

    def keep(items):
        handled.extend(items)
        return items

    async def scenario(batcher):
        gone = batcher.put("gone")
        gone.cancel()
        return await batcher.put("here")

    assert run(scenario, keep) == "here"
    assert handled == ["here"]


def test_other_work_with_the_model_goes_between_batches():
    async def scenario(batcher):
        return await asyncio.gather(batcher.put(1), batcher.alone(lambda: "heat"))

    assert run(scenario, list) == [1, "heat"]
