"""One channel or three: what `data.channels` means for these images and weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from imgclf.data.colours import is_deep, is_grey
from imgclf.data.images import decode, open_image
from imgclf.data.split import Dataset
from imgclf.schema import Config

GREY_MODES = ("1", "L", "LA")  # and the deep ones: Pillow's modes without colour
PROBE_PIXELS = 32


def resolve(cfg: Config, dataset: Dataset, pretrained: bool) -> tuple[Literal[1, 3], str]:
    """The model's channels, and the reason for the user.

    ``auto`` keeps pretrained weights as they are: they were learned on RGB, and a summed stem is at best as good. With
    nothing to preserve, images that are all grey make a grey model: it then greys what it is given, and so is not led
    astray by a colour it has never seen.
    """
    asked = cfg.data.channels
    if asked != "auto":
        return asked, f"input: {'grey, 1 channel' if asked == 1 else 'RGB'}, as asked (data.channels: {asked})"
    if pretrained:
        return 3, "input: RGB, as the pretrained weights are (data.channels: auto)"
    if all_grey(dataset.path(sample) for sample in dataset.train):
        return 1, "input: grey, 1 channel: no training image has colour, nothing is pretrained (data.channels: auto)"
    return 3, "input: RGB, as there are images with colour (data.channels: auto)"


def all_grey(paths: Iterable[Path]) -> bool:
    """Whether no image has colour; stops at the first that has. A grey file is recognised by its header alone."""
    return all(map(_is_grey_file, paths))


def _is_grey_file(path: Path) -> bool:
    with open_image(path) as image:
        if image.mode in GREY_MODES or is_deep(image.mode):
            return True
    return is_grey(decode(path, at_least=PROBE_PIXELS))
