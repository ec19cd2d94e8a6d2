"""What the readable images are like: sizes, shapes, kinds; and which classes are too small or uneven."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from imgclf.data.balance import imbalance
from imgclf.data.inspection import FileCheck, suffix_fits

EXTREME = 4.0  # longer side over shorter: a centre crop keeps a quarter or less
FEW = 5  # images of a class
UPRIGHT = 1


def of_images(checks: Sequence[FileCheck]) -> dict[str, Any]:
    """``sizes``, ``modes``, ``formats``, ``exif_orientations``, ``animations``, ``wrong_suffix``."""
    good = [(c.path, c.look) for c in checks if c.look]
    extreme = sorted(((k.ratio, path, k) for path, k in good if k.ratio >= EXTREME), reverse=True, key=lambda x: x[0])
    return {
        "sizes": {
            "width": _spread([k.width for _, k in good]),
            "height": _spread([k.height for _, k in good]),
            "aspect": _spread([round(k.width / k.height, 3) for _, k in good]),
            "extreme": [{"path": path, "width": k.width, "height": k.height} for _, path, k in extreme],
        },
        "modes": _counts(k.mode for _, k in good),
        "formats": _counts(k.format for _, k in good),
        "exif_orientations": _counts(str(k.orientation) for _, k in good if k.orientation != UPRIGHT),
        "animations": [path for path, k in good if k.frames > 1],
        "wrong_suffix": [{"path": path, "format": k.format} for path, k in good if not suffix_fits(path, k.format)],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)} if values else {}


def _counts(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def warnings(counts: Mapping[str, int]) -> list[str]:
    """Classes too small to learn or judge, and uneven ones."""
    found = [f"class '{name}' has {n} image{'s' * (n > 1)}" for name, n in counts.items() if n < FEW]
    if counts and (uneven := imbalance(counts)).strong:
        big, small = uneven.largest, uneven.smallest
        found.append(
            f"uneven classes: '{big}' has {counts[big]} images, '{small}' {counts[small]} "
            f"({uneven.ratio:.0f} times as many): look at the figures of each class, not at the accuracy alone"
        )
    return found
