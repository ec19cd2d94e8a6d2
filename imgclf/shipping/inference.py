"""One way to use a model, whatever its format: ``load(...)`` gives a ``Predictor``.

Neither fastai nor, for an ONNX file, torch is imported.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imgclf import runs
from imgclf.cores import cores
from imgclf.data.images import MAX_PIXELS, Preprocess
from imgclf.data.samples import Task
from imgclf.errors import ModelError, UserError, did_you_mean, first_line
from imgclf.results import unlike
from imgclf.results.abstention import Known, stored, threshold_for
from imgclf.results.unlike import Familiar
from imgclf.shipping import graphs, prediction
from imgclf.shipping.fetch import Address
from imgclf.shipping.prediction import Prediction
from imgclf.shipping.record import check_classes, check_task, parse, preprocess_from
from imgclf.shipping.sources import Source, Unreadable, images_under

if TYPE_CHECKING:
    import torch

__all__ = ["Predictor", "images_under", "load", "named", "reason"]

Format = Literal["bundle", "safetensors"] | graphs.Format
PRECISIONS = ("fp32", "bf16", "fp16")
Seen = tuple[np.ndarray, np.ndarray | None]  # logits (N, C), and what the body says, pooled (N, F)

FORMS = (
    f"models are: a run folder or bundle folder (it holds {runs.WEIGHTS}), "
    "a .safetensors, .onnx, .xml, .pt2 or .pt file of `imgclf export`"
)


@dataclass(frozen=True)
class Predictor:
    """A model ready for use.

    Attributes:
        name: Of the run folder or file.
        temperature: What the logits are divided by before the softmax (several labels: sigmoid); None where the file's
            own answers are calibrated already (a finished graph).
        forward: uint8 RGB images (N, S, S, 3) to float32 logits (N, C).
        task: ``multi``: an image has any number of labels.
        thresholds: For ``multi`` the least probability of each class at which an image has that label; else None.
        abstention: Rates of wrong answers, rising, each with the least probability of an answer to give.
        network: ``Sequential(body, head)`` behind ``forward``; None for a file that is a finished graph.
        see: As ``forward``, and of the same pass the body's pooled features (N, F) float32; None for a finished graph.
        familiar: Where the features of known images lie: what is far from there is unlike them. None: not recorded.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    format: Format
    temperature: float | None
    forward: Callable[[np.ndarray], np.ndarray] = field(repr=False, compare=False)
    task: Task = "single"
    thresholds: tuple[float, ...] | None = None
    network: "torch.nn.Sequential | None" = field(default=None, repr=False, compare=False)
    abstention: Known = ()
    see: Callable[[np.ndarray], Seen] | None = field(default=None, repr=False, compare=False)
    familiar: Familiar | None = field(default=None, repr=False, compare=False)

    def least_prob(self, rate: float) -> tuple[float, float]:
        """For at most that rate of wrong answers: the rate recorded, no higher than this, and its least probability.

        Raises:
            UserError: for several labels an image, or a rate that is no share.
            ModelError: if the validation images did not vouch for so low a rate.
        """
        if self.task == "multi":
            raise UserError("--abstain: with several labels an image each label has a threshold of its own already")
        return threshold_for(self.abstention, rate)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 RGB to (N, C) float32, uncalibrated (a graph: what its probabilities come from).

        Raises:
            ValueError: for another shape or type: scaling and normalising are this method's work, not the caller's.
        """
        self._check(images)
        return self.forward(images) if len(images) else np.zeros((0, len(self.classes)), np.float32)

    def _check(self, images: np.ndarray) -> None:
        side = self.preprocess.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise ValueError(f"images must be uint8 (N, {side}, {side}, 3), not {images.dtype} {images.shape}")

    def probs(self, images: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 RGB to (N, C) float32: calibrated; for one label an image each row sums to 1."""
        return prediction.calibrated(self.logits(images), self.temperature, self.task)

    def predict(
        self,
        paths: Iterable[Source | str],
        batch_size: int = 64,
        workers: int | None = None,
        full_decode: bool = False,
        abstain: float | None = None,
    ) -> Iterator[Prediction]:
        """The answers for files, in their order, one after another in constant memory.

        Files are decoded in threads while the model works (Pillow releases the interpreter's lock). A file that cannot
        be read gives a ``Prediction`` with ``error`` and does not stop the others.

        Args:
            workers: Threads that decode; None: one for each core, at most 8.
            full_decode: Decode JPEGs at full size, as other programs do, and not only as finely as the model needs.
            abstain: The highest rate of wrong answers: less sure ones get the label ``unknown``; None: all are given.
        """
        if abstain is not None:
            least = self.least_prob(abstain)[1]
            answers = self.predict(paths, batch_size, workers, full_decode)
            yield from (answer.withheld_below(least) for answer in answers)
            return
        workers = workers or min(8, cores())
        waiting = (Path(path) if isinstance(path, str) else path for path in paths)
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            ahead = deque(pool.submit(self._read, p, full_decode) for p in islice(waiting, 2 * batch_size))
            try:
                while ahead:
                    batch = [ahead.popleft().result() for _ in range(min(batch_size, len(ahead)))]
                    ahead.extend(pool.submit(self._read, p, full_decode) for p in islice(waiting, len(batch)))
                    yield from self.answer(batch)
            finally:
                _cancel(ahead)

    def _read(self, source: Source, full: bool) -> "tuple[Source, np.ndarray | str]":
        try:
            if isinstance(source, Unreadable):
                return source, source.reason
            if isinstance(source, Address):
                return source, self.preprocess.load_stranger(source.fetch(), MAX_PIXELS)
            return source, np.asarray(
                self.preprocess.fit(self.preprocess.open(source))
            ) if full else self.preprocess.load(source)
        except Exception as e:  # Pillow's plug-ins raise almost anything on broken files; the row says what
            return source, reason(e)

    def answer(self, batch: "Sequence[tuple[Source, np.ndarray | str]]") -> Iterator[Prediction]:
        """The answers for images that have been read already: (S, S, 3) uint8 RGB each, or why there is none."""
        images = [image for _, image in batch if not isinstance(image, str)]
        seen = iter(self._seen(np.stack(images)) if images else ())
        for source, image in batch:
            if isinstance(image, str):
                yield named(Prediction(Path(str(source)), error=image), source)
                continue
            probs, logits, features, distance = next(seen)
            made = prediction.answer(Path(str(source)), probs, logits, self.classes, self.thresholds)
            yield named(replace(made, features=features, distance=distance), source)

    def _seen(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None, float | None]]:
        """Probabilities, logits, features and distance of each image."""
        self._check(images)
        logits, features = (self.forward(images), None) if self.see is None else self.see(images)
        nothing = [None] * len(logits)
        distances: list[float] | list[None] = nothing
        if features is not None and self.familiar is not None:
            distances = self.familiar.distances(features).tolist()
        probs = prediction.calibrated(logits, self.temperature, self.task)
        return zip(probs, logits, nothing if features is None else features, distances, strict=True)


def named(made: Prediction, source: Source) -> Prediction:
    """The answer under its source's own words, where that is no path: ``Path`` would turn ``//`` into ``/``."""
    return made if isinstance(source, Path) else replace(made, name=str(source))


def load(model: str | Path, device: str = "cpu", trust: bool = False, precision: str = "fp32") -> Predictor:
    """A model from a run folder, a bundle folder, or a ``.safetensors``, ``.onnx``, ``.pt2`` or ``.pt`` file.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto``: a GPU if there is one.
        trust: Whether to run code: what makes a custom head, and what torch's loaders may run in a ``.pt2`` or ``.pt``
            file; without it such a model is refused.
        precision: In which the body of a run or bundle computes: ``bf16`` (and ``fp16``, on a GPU) is quicker where the
            device is made for it, and changes an answer in its third digit.

    Raises:
        UserError: for a device or precision that cannot be had.
        ModelError: if there is no such model, or it cannot be trusted to be whole.
    """
    if precision not in PRECISIONS:
        raise UserError(
            f"--precision: there is no '{precision}'.{did_you_mean(precision, PRECISIONS)}",
            f"one of {', '.join(PRECISIONS)}",
        )
    path = Path(os.path.expanduser(model))  # noqa: PTH111 - pathlib's fails for a user there is not
    suffix = path.suffix.lower()
    if (path / runs.WEIGHTS).is_file():
        return _from_bundle(path, "bundle", device, trust, precision)
    if path.is_dir():
        raise ModelError(f"the folder {path} holds no model ({runs.WEIGHTS})", FORMS)
    if not path.exists():
        raise ModelError(f"there is no model {path}", FORMS)
    if suffix == ".safetensors":
        return _from_bundle(path, "safetensors", device, trust, precision)
    if suffix in graphs.FORMATS:
        if precision != "fp32":
            raise UserError(
                f"--precision {precision}: {path.name} is a finished graph, which computes as it was exported",
                "use the run folder it was exported from",
            )
        return _from_graph(path, device, trust)
    if suffix in (".pkl", ".pth", ".pickle", ".ckpt"):
        raise ModelError(
            f"{path} is a pickle: loading one runs whatever code it holds", "use the run folder it was exported from"
        )
    raise ModelError(f"{path} is not a model imgclf can use", FORMS)


def _cancel(futures: "Iterable[Future[Any]]") -> None:
    for future in futures:
        future.cancel()


def reason(error: Exception) -> str:
    """Why a file could not be read, in a line, without the path (the row has it)."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = first_line(error)
    return "not an image, or of a kind Pillow does not know" if "cannot identify image file" in text else text


def _from_bundle(path: Path, form: Format, device: str, trust: bool, precision: str) -> Predictor:
    from imgclf.shipping import bundle
    from imgclf.shipping.forward import torch_forward

    net, record = bundle.load(path, trust)
    see = torch_forward(net, record.preprocess, device, precision)
    name = path.resolve().name
    return Predictor(
        name, record.classes, record.preprocess, form, record.temperature, lambda images: see(images)[0], record.task,
        record.cutoffs, net, stored(record.metrics.get("abstention", [])), see,
        unlike.stored(record.metrics.get("unlike")),
    )  # fmt: skip


def _from_graph(path: Path, device: str, trust: bool) -> Predictor:
    graph = graphs.load(path, device, trust)
    facts = graph.facts
    if not {"classes", "preprocess"} <= facts.keys():
        raise ModelError(f"{path} was not exported by imgclf: it does not say its classes and preprocessing", FORMS)
    classes = check_classes(parse(facts["classes"]))
    preprocess = preprocess_from(parse(facts["preprocess"]))
    task = parse(facts.get("task", '"single"'))
    thresholds = check_task(task, parse(facts.get("thresholds", "null")), len(classes))
    known = stored(parse(facts.get("abstention", "[]")))
    graph.check(len(classes), preprocess.size)
    form = graphs.FORMATS[path.suffix.lower()]

    def forward(images: np.ndarray) -> np.ndarray:
        return prediction.logits_of(graph.run(images), task)

    return Predictor(path.name, classes, preprocess, form, None, forward, task, thresholds, abstention=known)
