"""Bring a model of another program into a bundle, and prove on images that the bundle gives the same answers."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imgclf.console import Terminal
from imgclf.data.images import Preprocess, decode
from imgclf.data.inspection import UNREADABLE
from imgclf.data.location import keep_outside
from imgclf.errors import DataError, ExportError, ModelError, UserError

if TYPE_CHECKING:
    from imgclf.shipping.importers import Original
    from imgclf.shipping.tolerance import Parity

PICKLES = (".pkl", ".pickle")
WEIGHTS = (".pth", ".pt", ".bin", ".tar", ".ckpt", ".safetensors")
NAMES_INSIDE = ("classes", "class_names", "class_to_idx")  # of a checkpoint: where people keep them
IMAGENET = "imagenet"
GENERATED = 16  # images, where none are given
MOST = 64
FOLDER = "imported"


def import_model(
    file: Path,
    *,
    trust: bool = False,
    arch: str | None = None,
    classes: str | None = None,
    size: int | None = None,
    data: Path | None = None,
    out: Path | None = None,
    resize_once: bool = False,
    terminal: Terminal | None = None,
) -> dict[str, Any]:
    """Write a bundle with the answers of a fastai learner, or of a torchvision or timm state dict.

    Args:
        trust: Whether to run the code in a pickle; without it a learner is refused.
        arch: Of a state dict; None: the torchvision ResNet whose tensors these are.
        classes: Of a state dict: a file with a name a line, or ``imagenet``; None: those in the checkpoint.
        size: Of a state dict: the side of its images in pixels; None: the architecture's.
        data: A folder of images to compare on; None: generated ones.
        out: The bundle's folder; None: ``imported/`` and the name of the file.
        resize_once: Take a learner whose validation pipeline a bundle cannot repeat, resizing once instead.

    Returns:
        ``{"bundle", "kind", "arch", "classes", "task", "preprocess", "images", "parity", "pipeline"}``.

    Raises:
        ModelError: if the file cannot be read, or holds what a bundle cannot.
        ExportError: if the bundle would answer differently; nothing is left of it.
    """
    terminal = terminal or Terminal(quiet=True)
    target = out or Path(FOLDER) / file.stem
    if data is not None:
        keep_outside(data, target, "--out")
    _check(file, target, trust, {"--arch": arch, "--classes": classes, "--size": size})
    images = _images(data)
    if file.suffix.lower() in PICKLES:
        from imgclf.shipping.importers import learner

        original = learner.load(file)
    else:
        original = _from_weights(file, arch, classes, size, terminal)
    found, pipeline = _write(original, images, target, resize_once)
    if pipeline is not None:
        terminal.warn(f"{_differs(original)}: {_moved(pipeline)}")
    record = original.record
    return {
        "bundle": str(target), "kind": original.kind, "arch": record.arch, "classes": list(record.classes),
        "task": record.task, "preprocess": record.preprocess.to_dict(),
        "images": str(data) if data else "generated", "parity": found.to_dict(),
        "pipeline": pipeline.to_dict() if pipeline else None,
    }  # fmt: skip


def _check(file: Path, target: Path, trust: bool, for_weights: dict[str, Any]) -> None:
    """What can be known before anything is read."""
    suffix = file.suffix.lower()
    if not file.is_file():
        raise ModelError(f"there is no file {file}")
    if suffix not in (*PICKLES, *WEIGHTS):
        raise ModelError(
            f"{file} is neither a fastai learner nor a state dict",
            f"a learner ends in {' or '.join(PICKLES)}, a state dict in {', '.join(WEIGHTS)}",
        )
    if target.exists():
        raise ModelError(f"{target} exists already", "choose another folder: --out FOLDER")
    if suffix not in PICKLES:
        return
    given = [name for name, value in for_weights.items() if value is not None]
    if given:
        raise UserError(f"{given[0]} is for state dicts; a learner says it itself", "leave it out")
    if not trust:
        raise ModelError(
            f"{file} is a pickle: loading it runs whatever code is in it, so it is loaded only if you say that you "
            "trust it",
            "--trust, if you know where the file comes from; a state dict (.pth) needs no trust",
        )


def _images(data: Path | None) -> list[Image.Image]:
    """Decoded images to compare on."""
    if data is None:
        return [_generated(seed) for seed in range(GENERATED)]
    from imgclf.shipping.inference import images_under

    paths = images_under([data])
    found = []
    for path in paths[:: max(1, len(paths) // MOST)][:MOST]:
        try:
            found.append(decode(path))
        except UNREADABLE:  # no image is needed more than another
            continue
    if not found:
        raise DataError(f"--data {data}: there is no image there that can be read")
    return found


def _generated(seed: int) -> Image.Image:
    """A picture with coarse and fine structure; wide, high and square ones by turns."""
    random = np.random.default_rng(seed)
    width, height = int(random.integers(240, 640)), int(random.integers(240, 640))
    made = np.zeros((height, width, 3))
    for cells, share in ((3, 0.5), (8, 0.3), (25, 0.2)):
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        made += share * np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(made.astype(np.uint8))


def _from_weights(
    file: Path, arch: str | None, classes: str | None, size: int | None, terminal: Terminal
) -> "Original":
    from imgclf.shipping.importers import state_dict
    from imgclf.training import archs, weights

    content = weights.read(file)
    state = weights.tensors(content)
    name = arch or state_dict.guess(state)
    if name is None:
        raise ModelError(
            f"{file}: its {len(state)} tensors are those of no torchvision ResNet (the first is "
            f"'{next(iter(state), 'nothing')}')",
            "say whose they are: --arch NAME, with timm also one of timm's; `imgclf archs` lists them",
        )
    known = archs.arch(name)
    side = size or known.input_size
    preprocess = Preprocess(side, mean=known.mean, std=known.std)
    terminal.note(
        f"{file} as {name} at {side} px, whole centre square; a state dict says nothing of how its images were prepared"
    )
    return state_dict.original(file.name, state, name, _class_names(file, content, classes), preprocess)


def _class_names(file: Path, content: dict[str, Any], given: str | None) -> tuple[str, ...]:
    """From the file the user names, or from the checkpoint."""
    if given == IMAGENET:
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    if given is not None:
        try:
            lines = Path(given).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"--classes {given} cannot be read: {e}", "a text file, one name a line") from e
        return tuple(line.strip() for line in lines if line.strip())
    for key in NAMES_INSIDE:
        inside = content.get(key)
        if isinstance(inside, dict) and sorted(map(repr, inside.values())) == sorted(map(repr, range(len(inside)))):
            inside = sorted(inside, key=inside.__getitem__)
        if isinstance(inside, list | tuple) and inside and all(isinstance(name, str) for name in inside):
            return tuple(inside)
    raise ModelError(
        f"{file} does not name its classes",
        f"--classes FILE, one name a line in the order of the outputs; or --classes {IMAGENET}",
    )


def _write(
    original: "Original", images: Sequence[Image.Image], target: Path, resize_once: bool
) -> "tuple[Parity, Parity | None]":
    """The bundle, moved to its place once its answers have been compared.

    Returns:
        How far they are from the original's, and, where that was not asked to prepare the images, how far its own
        preparation moves them.
    """
    from imgclf.shipping import bundle, inference
    from imgclf.shipping.tolerance import TOLERANCES, compare

    record, tolerance = original.record, TOLERANCES["safetensors"]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:
            folder = Path(place, "bundle")
            bundle.save(folder, original.state, record)
            predictor = inference.load(folder)
            found = predictor.probs(np.stack([np.asarray(predictor.preprocess.fit(image)) for image in images]))
            result = compare(original.probs(images), found, tolerance, predictor.thresholds)
            pipeline = None
            if resize_once and not result.passed and original.same_pixels is not None:
                pipeline = result
                result = compare(original.same_pixels(images), found, tolerance, predictor.thresholds)
            if not result.passed:
                raise _failure(original, result, pipeline)
            facts = {"resized_once": pipeline is not None, "parity": result.to_dict()}
            imported = {**record.training["imported"], **facts}
            bundle.save(folder, original.state, replace(record, training={"imported": imported}))
            folder.rename(target)
    except OSError as e:
        raise ExportError(f"cannot write {target}: {e.strerror or e}", "choose another place: --out FOLDER") from e
    return result, pipeline


def _failure(original: "Original", result: "Parity", pipeline: "Parity | None") -> ExportError:
    if original.same_pixels is not None and pipeline is None:
        hint = "--resize-once takes it with these differences, if its network alone agrees; evaluate it before use"
        return ExportError(f"{_differs(original)}: {_moved(result)}; no bundle was written", hint)
    return ExportError(
        f"a bundle of this {original.kind} answers differently: {_moved(result)}; no bundle was written",
        "its network holds something that a bundle's description does not say",
    )


def _differs(original: "Original") -> str:
    steps = f" ({', '.join(original.passed_over)})" if original.passed_over else ""
    return f"the {original.kind} prepares its images otherwise than a bundle can{steps}"


def _moved(result: "Parity") -> str:
    return (
        f"probabilities differ by up to {result.max_abs_diff:.2g}, the answer agrees on {result.top1_agreement:.1%} of "
        f"{result.n_images} images"
    )
