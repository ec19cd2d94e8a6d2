"""Grey of more than 8 bits: which values become black and white, and whether that leaves anything to see."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imgclf.data.colours import GreyRange
from imgclf.data.images import open_image
from imgclf.schema import Config

LOOKED_AT = 32  # images
FULL = 65535
NARROW = 1 / 8  # of the full range: 32 of 256 shades


def asked(cfg: Config) -> GreyRange | None:
    """The configured range."""
    return cfg.data.grey_range


def advice(cfg: Config, deep: Sequence[Path]) -> str:
    """What to tell about 16-bit files whose values fill a small part of their range; nothing of others.

    Args:
        deep: The files of grey with more than 8 bits.
    """
    if asked(cfg) is not None or not deep:
        return ""
    ranges = [_range(path) for path in deep[:: -(-len(deep) // LOOKED_AT)]]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    # Values up to 255 are taken as they are, and what is no 16-bit number has a range of its own.
    if low < 0 or not 255 < high <= FULL or high - low >= NARROW * FULL:
        return ""
    shades = round((high - low) / FULL * 255) + 1
    return (
        f"grey of 16 bits: in {len(ranges)} of these images almost all values lie between {low:.0f} and {high:.0f} of "
        f"{FULL}, which leaves {shades} of 256 shades: --set 'data.grey_range=[{low:.0f}, {high:.0f}]' uses them all"
    )


def _range(path: Path) -> GreyRange:
    """What all but one in a thousand of a file's values lie between, at either end."""
    with open_image(path) as image:
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
    low, high = np.quantile(values, [0.001, 0.999])
    return float(low), float(high)
