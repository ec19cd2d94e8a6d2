"""Randomness as a function of (seed, place), never of history: what makes a run repeatable, and resumable."""

import hashlib

from imgclf.schema import Config


def derive(cfg: Config, *place: object) -> int:
    """A 32-bit seed for one place of a run, such as ``derive(cfg, "frozen", 0)``."""
    return mix(cfg.seed, *place)


def mix(seed: int, *place: object) -> int:
    """A 32-bit seed for a place within the place that ``seed`` belongs to."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
