"""What making images square costs: the area a crop throws away, a pad adds, or a squish distorts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from imgclf.data.images import ResizeRule, decode, open_image, resize
from imgclf.data.inspection import TURNED, orientation_of

SHEET_PIXELS = 240
KEPT = (230, 159, 0)
# A photograph of 3:2 loses a third to a centre crop, one of 4:3 a quarter: what models are commonly trained with.
USUAL_LOSS, MUCH_LOSS = 1 / 3, 0.4
ALIKE = 0.1  # spread of the aspect ratio, below which squishing distorts all images alike

WHAT = {
    "crop": "share of the image cut away",
    "pad": "share of the square that is padding",
    "squish": "how much longer one side is stretched than the other",
}


@dataclass(frozen=True)
class CropLoss:
    """What a resize rule costs; ``costs`` in the order of ``paths``: shares, or for squish factors from 1."""

    rule: ResizeRule
    paths: tuple[str, ...]
    costs: np.ndarray
    recommended: ResizeRule
    why: str
    crop_pct: float = 1.0

    def worst(self, n: int = 12) -> list[tuple[str, float]]:
        """The images with the highest cost, the worst first."""
        return [(self.paths[i], float(self.costs[i])) for i in np.argsort(-self.costs, kind="stable")[:n]]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `imgclf data show --crop-loss`, but for the picture."""
        median, p90 = (float(np.percentile(self.costs, q)) for q in (50, 90))
        return {
            "rule": self.rule, "measure": WHAT[self.rule], "n_images": len(self.paths),
            "median": median, "p90": p90, "max": float(self.costs.max()),
            "recommended": self.recommended, "why": self.why,
            "worst": [{"path": path, "cost": cost} for path, cost in self.worst()],
        }  # fmt: skip


def measure(
    root: Path,
    paths: Sequence[str],
    rule: ResizeRule,
    step: Callable[[], object] = lambda: None,
    crop_pct: float = 1.0,
) -> CropLoss:
    """Read the size of every image (its header alone) and judge the rule.

    Args:
        crop_pct: The share of the shorter side that a crop keeps.
    """
    ratios = np.array([_ratio(root / path, step) for path in paths])
    sides = np.maximum(ratios, 1 / ratios)
    kept = crop_pct**2 if rule == "crop" else 1.0
    costs = sides if rule == "squish" else 1 - kept / sides
    recommended, why = recommend(ratios)
    return CropLoss(rule, tuple(paths), costs, recommended, why, crop_pct)


def recommend(ratios: np.ndarray) -> tuple[ResizeRule, str]:
    """A rule for images of these ratios of width to height (N,), and the reason."""
    loss = 1 - np.minimum(ratios, 1 / ratios)
    median, p90 = np.percentile(loss, [50, 90])
    if median <= USUAL_LOSS + 1e-6 and p90 <= MUCH_LOSS:
        return "crop", (
            f"the centre square keeps {1 - median:.0%} of the middle image and {1 - p90:.0%} of nine in ten, and "
            "neither distorts nor pads"
        )
    if np.log(ratios).std() <= ALIKE:
        return "squish", (
            f"a crop would throw away {median:.0%} of the middle image, and the shapes are alike (width to height "
            f"{np.median(ratios):.2f}): squishing distorts all in the same way and loses nothing"
        )
    return "pad", (
        f"a crop would throw away {median:.0%} of the middle image and {p90:.0%} or more of one in ten, and the shapes "
        "differ: padding keeps all of it, undistorted"
    )


def sheet(root: Path, found: CropLoss, n: int = 12) -> tuple[list[np.ndarray], list[str]]:
    """Pictures (H, W, 3) uint8 of the worst images with their titles: for a crop, the kept square is drawn and the rest
    dimmed; padded and squished images are shown as the model gets them."""
    worst = found.worst(n)
    unit = "{:.1f}x" if found.rule == "squish" else "{:.0%}"
    pictures = [np.asarray(_drawn(decode(root / path, SHEET_PIXELS), found.rule, found.crop_pct)) for path, _ in worst]
    return pictures, [f"{unit.format(cost)}  {Path(path).name}" for path, cost in worst]


def _drawn(image: Image.Image, rule: ResizeRule, crop_pct: float) -> Image.Image:
    if rule != "crop":
        return resize(image, SHEET_PIXELS, rule, (0.5, 0.5))
    image = ImageOps.contain(image, (SHEET_PIXELS, SHEET_PIXELS))
    side = max(1, round(crop_pct * min(image.size)))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    dimmed = Image.blend(image, Image.new("RGB", image.size, "white"), 0.65)
    dimmed.paste(image.crop(box), box)
    ImageDraw.Draw(dimmed).rectangle((left, top, left + side - 1, top + side - 1), outline=KEPT, width=min(3, side))
    return ImageOps.pad(dimmed, (SHEET_PIXELS, SHEET_PIXELS), color="white")


def _ratio(path: Path, step: Callable[[], object]) -> float:
    """Width to height, upright."""
    with open_image(path) as image:
        turned = orientation_of(image) in TURNED
        width, height = image.size
    step()
    return height / width if turned else width / height
