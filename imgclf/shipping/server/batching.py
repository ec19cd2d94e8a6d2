"""Images of many requests through the model together: a batch costs less than its images one by one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")

WAIT = 0.004  # seconds a batch waits for images that are being decoded
SHARE = 0.1  # of the time the last batch took, for those it answered to come again


class Batcher(Generic[T, R]):
    """Collects what is waiting, up to a number, and handles it in one thread, one batch at a time.

    While a batch is handled, the next one gathers. A batch that is not full waits a few milliseconds, but only if
    images have been announced with ``coming``, or if others were answered a moment ago, who may come again: a lonely
    request is never held up. Such a second wait costs a tenth of the batch before at most, and ends the habit of two
    halves of the clients taking turns.

    Args:
        handle: Items to as many results; called in a thread of its own, the only one that uses the model.
        most: Items in a batch.
    """

    def __init__(self, handle: Callable[[Sequence[T]], Sequence[R]], most: int, wait: float = WAIT) -> None:
        self.handle, self.most, self.wait = handle, most, wait
        self.batches = 0  # handled so far
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._coming = 0
        self._changed = asyncio.Event()
        self._last = 0.0  # seconds the last batch took

    @contextmanager
    def coming(self, n: int) -> Iterator[Callable[[], None]]:
        """Announce ``n`` items; the block calls what it gets each time one of them has arrived, or never will."""
        self._coming += n
        left = n

        def one_less() -> None:
            nonlocal left
            left -= 1
            self._coming -= 1
            self._changed.set()

        try:
            yield one_less
        finally:
            self._coming -= left
            self._changed.set()

    def put(self, item: T) -> "asyncio.Future[R]":
        """Its result, later."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._changed.set()
        return future

    def alone(self, function: Callable[[], A]) -> Awaitable[A]:
        """Something else that needs the model, between two batches."""
        return asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def run(self) -> None:
        """Handle batches until cancelled."""
        try:
            while True:
                await self._gather()
                batch = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
                batch = [(item, future) for item, future in batch if not future.done()]  # its client may be gone
                if batch:
                    await self._finish(batch)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _gather(self) -> None:
        """Until there is something, and until the batch is full, nothing else is coming, or the wait is over."""
        loop = asyncio.get_running_loop()
        again = loop.time() + (min(self.wait, SHARE * self._last) if self._waiting else 0)
        while not self._waiting:
            await self._change(None)
        end = loop.time() + self.wait
        while len(self._waiting) < self.most:
            left = (end if self._coming else again) - loop.time()
            if left <= 0:
                return
            await self._change(left)

    async def _change(self, seconds: float | None) -> None:
        self._changed.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def _finish(self, batch: "list[tuple[T, asyncio.Future[R]]]") -> None:
        self.batches += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            results = await loop.run_in_executor(self._thread, self.handle, [item for item, _ in batch])
        except Exception as e:  # of these images alone; whoever asked gets it, and the next batch has its turn
            for _, future in batch:
                if not future.done():
                    future.set_exception(e)
            return
        self._last = loop.time() - started
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
