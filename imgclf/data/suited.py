"""What suits the images, where the configuration leaves it open."""

from dataclasses import dataclass
from typing import Literal

Familiar = bool | Literal["hardly"]  # whether a body's last layers suit the images; hardly: no more than earlier ones


@dataclass(frozen=True)
class Suited:
    """The values of keys that are ``auto``; None: nothing was found out, the usual is taken.

    Attributes:
        crop_pct: Of ``augment.crop_pct``; usually 1.
        flip: Of ``augment.flip``; usually true.
        familiar: Whether the pretrained body's last layers suit such images, which ``train.freeze_to``, ``train.lr``,
            ``train.ema`` and ``augment.p_affine`` depend on; usually true.
    """

    crop_pct: float | None = None
    flip: bool | None = None
    familiar: Familiar | None = None

    @property
    def suits_body(self) -> bool:
        """Whether the body's last layers suit the images better than earlier ones, as far as is known."""
        return self.familiar in (None, True)
