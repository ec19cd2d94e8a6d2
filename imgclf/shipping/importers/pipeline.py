"""What a fastai learner does to a validation image, as far as a bundle can do it too."""

from typing import Any, NamedTuple, get_args

from PIL import Image

from imgclf.data.images import Preprocess, ResizeRule
from imgclf.errors import ModelError

HARMLESS = ("ToTensor", "IntToFloatTensor", "Categorize", "MultiCategorize", "OneHotEncode")
MEAN, STD = 0.0, 1.0  # where nothing is normalised


class Seen(NamedTuple):
    """The preprocessing, and in words the steps that it leaves out."""

    preprocess: Preprocess
    passed_over: tuple[str, ...]


def read(loaders: Any, channels: int) -> Seen:
    """The preprocessing of a learner's validation pipeline.

    Whether it really is the same, a comparison of answers has to tell.

    Args:
        loaders: ``learner.dls``.
        channels: That the network takes.

    Raises:
        ModelError: if nothing brings images to one square size.
    """
    on_items, on_batches = _steps(loaders)
    resizes = [step for step in on_items if _name(step) == "Resize"]
    again = [step for step in on_batches if getattr(step, "size", None) is not None]
    sizes = [_side(step) for step in (again or resizes)[-1:]]
    if not sizes or not resizes:
        names = ", ".join(map(_name, [*on_items, *on_batches])) or "none"
        raise ModelError(
            f"the learner's validation pipeline brings images to no one size by a Resize (its steps: {names})",
            "a bundle resizes every image to one square; train with item_tfms=Resize(SIZE)",
        )
    rule: Any = str(getattr(resizes[0].method, "value", resizes[0].method))
    if rule not in get_args(ResizeRule):
        raise ModelError(f"the learner resizes by the method '{rule}', not one of {', '.join(get_args(ResizeRule))}")
    mean, std = _normalisation(on_batches, channels)
    shape: Any = channels
    left_out = [_odd(resizes[0]), *(f"{_name(step)} to {_side(step)} px after a Resize" for step in again)]
    left_out += [_name(step) for step in (*resizes[1:], *on_items, *on_batches) if not _is_known(step, resizes, again)]
    seen = Preprocess(sizes[0], rule, mean=mean, std=std, channels=shape)
    return Seen(seen, tuple(dict.fromkeys(step for step in left_out if step)))


def _steps(loaders: Any) -> tuple[list[Any], list[Any]]:
    """The steps that work in validation, on one image once it is one, and on batches."""
    loader = loaders.valid
    try:
        types = list(loader.dataset.tls[0].tfms.fs)
    except AttributeError:
        types = []
    opened = [i for i, step in enumerate(types) if _name(step) in ("create", "PILBase.create")]
    on_types = types[opened[-1] + 1 :] if opened else [step for step in types if _name(step) == "Resize"]
    return [s for s in (*on_types, *loader.after_item.fs) if _acts(s)], [s for s in loader.after_batch.fs if _acts(s)]


def _acts(step: Any) -> bool:
    """Whether a step does anything in validation."""
    if getattr(step, "split_idx", None) == 0:
        return False
    moves = hasattr(step, "coord_fs")  # an AffineCoordTfm: of random movement nothing is left but its resizing
    return not moves or step.size is not None


def _name(step: Any) -> str:
    said = type(step).__name__
    return str(getattr(step, "name", said)) if said == "Transform" else said


def _is_known(step: Any, resizes: list[Any], again: list[Any]) -> bool:
    return _name(step) in (*HARMLESS, "Normalize", "create", "exif_transpose") or step in resizes[:1] or step in again


def _side(step: Any) -> int:
    size = step.size
    width, height = (size, size) if isinstance(size, int) else tuple(size)[:2]
    if width != height:
        raise ModelError(f"the learner's images are {width} x {height} pixels; a bundle takes squares only")
    return int(width)


def _odd(step: Any) -> str | None:
    """How a Resize differs from a bundle's, in words."""
    if step.method == "pad" and step.pad_mode != "reflection":
        return f"Resize padding with {step.pad_mode}"
    if step.mode != Image.Resampling.BILINEAR:
        return f"Resize interpolating {Image.Resampling(step.mode).name.lower()}"
    return None


def _normalisation(on_batches: list[Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = next((step for step in on_batches if _name(step) == "Normalize"), None)
    if found is None:
        return (MEAN,) * channels, (STD,) * channels
    mean, std = ([round(float(value), 7) for value in values.flatten()] for values in (found.mean, found.std))
    return tuple(mean), tuple(std)
