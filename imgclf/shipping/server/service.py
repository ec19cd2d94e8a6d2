"""From uploaded bytes to the answers' rows: decoded in threads, predicted in common batches, within limits."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.cores import cores
from imgclf.shipping.inference import Predictor, reason
from imgclf.shipping.prediction import Prediction
from imgclf.shipping.server.batching import Batcher
from imgclf.shipping.server.bodies import Upload
from imgclf.shipping.server.limits import Limits, busy
from imgclf.shipping.server.pictures import as_png, tinted

MOST_WORKERS = 8


@dataclass
class Service:
    """One model at work.

    Attributes:
        least: Answers below this probability are ``unknown``; None: all are given.
        workers: Threads that decode images; None: one for each core, at most 8.
    """

    predictor: Predictor
    least: float | None = None
    limits: Limits = field(default_factory=Limits)
    batch_size: int = 32
    workers: int | None = None
    running: int = 0
    served: int = 0  # images answered so far

    def __post_init__(self) -> None:
        """Start the threads."""
        workers = self.workers or min(MOST_WORKERS, cores())
        self._alone = threading.Lock()  # images of 50 million pixels take a gigabyte each: one after another
        self._decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self.batcher: Batcher[np.ndarray, Prediction] = Batcher(self._answers, self.batch_size)

    @property
    def has_maps(self) -> bool:
        """Whether heat maps can be asked for: an exported graph has no activations to make them of."""
        return self.predictor.network is not None

    @contextmanager
    def place(self, unread: bool = False) -> Iterator[None]:
        """One of the places for requests, or a refusal; the body is not read before."""
        if self.running >= self.limits.requests:
            raise busy(f"{self.running} requests are being answered already", unread)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def rows(self, uploads: Sequence[Upload], top_k: int | None, heat: bool) -> list[dict[str, Any]]:
        """A row for each upload, in order: as ``imgclf predict`` gives it, with ``file`` in place of ``path``."""
        with self.batcher.coming(len(uploads)) as arrived:
            return list(await asyncio.gather(*(self._row(upload, top_k, heat, arrived) for upload in uploads)))

    async def _row(self, upload: Upload, top_k: int | None, heat: bool, arrived: Any) -> dict[str, Any]:
        name = {} if upload.name is None else {"file": upload.name}
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._decoders, self._decoded, upload.data)
            future = None if isinstance(found, str) else self.batcher.put(found)
        finally:
            arrived()
        if future is None or isinstance(found, str):
            return {**name, "error": found}
        answer = await future
        row = answer.to_row(self.predictor.classes, top_k)
        del row["path"]
        self.served += 1
        return {**name, **row, **(await self._heat(found, answer) if heat and self.has_maps else {})}

    def _decoded(self, data: bytes) -> "np.ndarray | str":
        try:
            return self.predictor.preprocess.load_stranger(data, self.limits.pixels, self._alone)
        except Exception as e:  # Pillow's plug-ins raise almost anything on broken files; the row says what
            return reason(e)

    def _answers(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        found = self.predictor.answer([(Path("upload"), image) for image in images])
        return [answer if self.least is None else answer.withheld_below(self.least) for answer in found]

    async def _heat(self, image: np.ndarray, answer: Prediction) -> dict[str, Any]:
        """What the model saw, and the places that speak for its most probable class, as PNG in data addresses."""
        assert answer.probs is not None
        best = int(answer.probs.argmax())
        heat = await self.batcher.alone(lambda: self._map(image, best))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, self._drawn, image, heat, self.predictor.classes[best])

    def _map(self, image: np.ndarray, wanted: int) -> np.ndarray:
        from imgclf.shipping.gradcam import heatmaps

        return heatmaps(self.predictor, image, [wanted])

    def _drawn(self, image: np.ndarray, maps: Any, name: str) -> dict[str, Any]:
        if not len(maps):  # a body that gives no feature map
            return {}
        return {"heatmap": {"class": name, "seen": as_png(image), "map": as_png(tinted(maps[0]))}}

    def close(self) -> None:
        """Let the threads go."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
