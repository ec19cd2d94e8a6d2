"""How often Python looks for garbage while the records of many images are made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 50_000, 20, 20  # instead of 700, 10, 10: gc.set_threshold


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Within the block, or the function it decorates, Python looks for cycles seldom.

    It looks through all objects that may be part of one each time their number has grown by a quarter. A hundred
    thousand images are a million records, none of them garbage: an image of many would cost twice that of a few.
    """
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
