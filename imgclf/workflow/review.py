"""A page of likely label errors of a run's training and validation images, each to be kept, relabelled or dropped."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgclf import disk, runs
from imgclf.config import load
from imgclf.console import Terminal
from imgclf.data import corrections, neighbours, split
from imgclf.data.samples import Sample
from imgclf.errors import DataError, ModelError
from imgclf.results.review import SIDE, Suspect, ranked, write_review
from imgclf.results.thumbnails import thumbnail
from imgclf.runs import Run
from imgclf.schema import Config
from imgclf.shipping import inference
from imgclf.shipping.inference import Predictor
from imgclf.workflow import evaluate

LIMIT = 200  # images on the page
HELD_OUT = (
    "Each image was judged by a linear head on features of the pretrained network that was fitted to the other images "
    "only (cross-validation in five parts): the score is the probability it gives to the label the image has."
)
BY_LOSS = (
    "Nothing is pretrained here, so the run's own model judged: the score is the probability it gives to the label the "
    "image has. It was trained on the training images, and may have learned their errors by heart."
)


@dataclass(frozen=True)
class Reviewed:
    """The page, and what is on it, most suspect first."""

    page: Path
    suspects: list[Suspect]
    images: int
    ranked_by: str

    def to_dict(self) -> dict[str, Any]:
        """The entry ``review`` of the JSON of `imgclf report --review`."""
        return {
            "page": str(self.page), "images": self.images, "ranked_by": self.ranked_by,
            "suspects": [suspect.to_dict() for suspect in self.suspects],
        }  # fmt: skip


def review(
    reference: str | None = None,
    *,
    runs_dir: Path = Path("runs"),
    limit: int = LIMIT,
    device: str = "auto",
    terminal: Terminal | None = None,
    trust: bool = False,
) -> Reviewed:
    """Write a run's ``review.html``.

    Args:
        reference: A run folder or name; None: the newest finished run.
        limit: The most images on the page.
        trust: Whether the code that a custom head names may run.

    Raises:
        ModelError: if there is no such run, it has no model, or its pretrained weights cannot be had.
        DataError: if its images are gone, or too few to be judged by each other.
        RunError: if its folder cannot be written to.
    """
    terminal = terminal or Terminal(quiet=True)
    run = runs.find(reference, runs_dir)
    if not run.file(runs.WEIGHTS).is_file():
        raise ModelError(f"{run.path} has no model yet", "review the labels of a finished run")
    cfg = load(str(run.file(runs.CONFIG))).config
    predictor = inference.load(run.path, device, trust)
    root, samples = _samples(run, predictor.classes, terminal)
    kept, probs, how = _judged(cfg, predictor, root, samples, device, terminal)
    targets = evaluate.targets(predictor, kept)
    found = ranked([s.path for s in kept], [str(s.split) for s in kept], targets, probs, predictor.classes)[:limit]
    config = str(run.file(runs.CONFIG).absolute())
    again = ["imgclf", "train", "-c", config, "--set", "data.corrections=corrections.csv"]
    with disk.explained(run.path):
        page = write_review(
            run.file(runs.REVIEW),
            title=f"Labels of {root.name} to look at",
            about=f"The {len(found)} of {len(kept):,} training and validation images whose label is least likely. "
            + {"held_out": HELD_OUT, "loss": BY_LOSS}[how],
            suspects=[(suspect, thumbnail(root / suspect.path, SIDE)) for suspect in found],
            classes=predictor.classes,
            several=predictor.task == "multi",
            earlier=earlier(cfg),
            command=shlex.join(again),
        )
    return Reviewed(page, found, len(kept), how)


def earlier(cfg: Config) -> list[tuple[str, str, str]]:
    """The rows of the corrections the run was trained with: a new file has to hold them too."""
    file = corrections.file_of(cfg)
    return [(row["path"], row["action"], row["label"]) for row in corrections.read(file)] if file else []


def _samples(run: Run, classes: Sequence[str], terminal: Terminal) -> tuple[Path, list[Sample]]:
    """Root, and the training and validation images with a label the model knows and a name that can be written."""
    root = Path(run.manifest().get("data_root", ""))
    own = [s for s in split.read_csv(run.file(runs.SPLIT)) if s.split in ("train", "valid")]
    known = [s for s in own if set(s.labels) <= set(classes)]
    writable = [s for s in known if _is_text(s.path)]
    if len(writable) < len(known):
        terminal.warn(f"left out {len(known) - len(writable)} images whose names are not UTF-8: no CSV can name them")
    if not any((root / s.path).is_file() for s in writable):
        raise DataError(f"the images of {run.path} are no longer in {root}", "put them back where the run found them")
    return root, writable


def _is_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _judged(
    cfg: Config, predictor: Predictor, root: Path, samples: list[Sample], device: str, terminal: Terminal
) -> tuple[list[Sample], np.ndarray, str]:
    """The images that can be read, the probabilities (N, C) for each, and where these are from."""
    from imgclf.training import archs, weights

    arch = archs.resolve(cfg)
    found = weights.resolve(cfg, arch)
    if not found.pretrained:
        raw = evaluate.predict(predictor, root, samples, terminal)
        known = {path: i for i, path in enumerate(raw.paths)}
        return [s for s in samples if s.path in known], raw.probs, "loss"
    from imgclf.workflow import frozen

    paths = [root / s.path for s in samples]
    with terminal.progress("reviewing", len(paths)) as step:
        seen = frozen.features(arch, found, predictor.preprocess, device, paths, step)
    kept = [s for s, row in zip(samples, seen, strict=True) if row is not None]
    rows = [row for row in seen if row is not None]
    if not rows:
        raise DataError(f"none of the {len(samples)} images under {root} can be read")
    return kept, held_out(np.stack(rows), evaluate.targets(predictor, kept), kept), "held_out"


def held_out(features: np.ndarray, targets: np.ndarray, items: Sequence[Sample]) -> np.ndarray:
    """The probabilities (N, C) for each image by a probe of the others: of other groups, where ``items`` are in some.

    Args:
        features: (N, F), in the order of the images' names. targets: (N,) or (N, C).

    Raises:
        DataError: where no class has two images.
    """
    import torch

    from imgclf.training import probe

    n_classes = int(targets.max()) + 1 if targets.ndim == 1 else targets.shape[1]
    groups = neighbours.belonging(features, targets, items)
    made = probe.out_of_fold(torch.tensor(features), torch.tensor(targets), n_classes, groups)
    if made is None:
        raise DataError("every class has one image only: no label can be judged by other images")
    probs = made.numpy()
    if targets.ndim == 1:
        alone = np.bincount(targets)[targets] < 2  # nothing speaks for or against an image alone in its class
        probs[alone] = np.nan
    return probs
