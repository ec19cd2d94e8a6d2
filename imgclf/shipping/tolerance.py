"""How far an artefact's answers may be from the model's, and how far they are. Arrays in, numbers out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imgclf.results.thresholds import decide


@dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from the model.

    Attributes:
        max_abs_diff: Of any probability.
        top1_agreement: Share of the images with the same best class; for several labels an image, with the same
            labels. Where the model's two best probabilities are within ``near`` of each other, either is the same; so
            is either where a probability is that near to its threshold.
        near: None: ``max_abs_diff``.
    """

    max_abs_diff: float
    top1_agreement: float = 1.0
    near: float | None = None

    @property
    def tie(self) -> float:
        """``near``, whatever it was left to be."""
        return self.max_abs_diff if self.near is None else self.near


@dataclass(frozen=True)
class Parity:
    """How far it is; ``top1_agreement`` counts as ``Tolerance`` says."""

    n_images: int
    max_abs_diff: float
    top1_agreement: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


TOLERANCES = {
    # The same pixels, the same arithmetic in another order: 3e-6 measured on photographs, for all three resize rules.
    "safetensors": Tolerance(1e-4),
    "onnx": Tolerance(1e-4),
    "openvino": Tolerance(1e-4),
    "torch-export": Tolerance(1e-4),
    "torchscript": Tolerance(1e-4),
    # Against JPEGs decoded in full, as fastai does: 3e-6 too. What full decoding changes by itself is reported apart.
    "pkl": Tolerance(1e-4),
    # Eleven bits of each number: 4e-3 measured.
    "onnx-fp16": Tolerance(0.02),
    # Eight bits: answers do change, and an uncertain one by much. Whether it is too much, the accuracy beside it says.
    "onnx-int8": Tolerance(0.5, top1_agreement=0.95, near=0.02),
    # Resized in the graph, against JPEGs decoded in full: single steps of the 255, which moved a probability by up to
    # 0.012 in 192 photographs.
    "onnx-full": Tolerance(0.05),
}
ANY_SIZE = ("onnx-full",)  # formats that bring images to the model's size themselves
# For a file's own answers on another machine, where they are not the model's.
REPEATED = {"onnx-fp16": Tolerance(0.02), "onnx-int8": Tolerance(0.1)}


def compare(
    expected: np.ndarray, found: np.ndarray, tolerance: Tolerance, thresholds: Sequence[float] | None = None
) -> Parity:
    """Two answers (N, C) for the same images.

    Args:
        thresholds: (C,) of a model for several labels an image; None: one label.
    """
    if expected.shape != found.shape or not np.isfinite(found).all():
        return Parity(len(expected), 1.0, 0.0, passed=False)  # no more than probabilities can differ by
    worst = float(np.abs(expected - found).max())
    agreement = float(_same_answer(expected, found, tolerance.tie, thresholds).mean())
    passed = worst <= tolerance.max_abs_diff and agreement >= tolerance.top1_agreement
    return Parity(len(expected), worst, agreement, bool(passed))


def _same_answer(
    expected: np.ndarray, found: np.ndarray, near: float, thresholds: Sequence[float] | None
) -> np.ndarray:
    """For each image (N,), whether both name the same class or the same labels, as ``Tolerance`` says."""
    if thresholds is None:
        rows = np.arange(len(expected))
        lost = expected.max(axis=1) - expected[rows, found.argmax(axis=1)]  # 0 where the best class is the same
        return np.asarray(lost <= near)
    same = decide(expected, thresholds) == decide(found, thresholds)
    return np.asarray((same | (np.abs(expected - np.asarray(thresholds)) <= near)).all(axis=1))
