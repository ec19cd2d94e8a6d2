"""Pictures that look alike: a perceptual hash proposes pairs, the correlation of small grey pictures decides.

The hash is a difference hash of 128 bits (after N. Krawetz, "Kind of like that", 2013): whether grey rises from each
cell of an 8 x 9 grid to the next, across and down. Found so: a picture saved again, resized, squeezed, turned grey, or
somewhat brighter. Not found: cut by more than a few per cent, mirrored, or turned.

All pairs would be quadratic. Instead the hash is cut into eight bands. Two hashes that differ in no more than seven
bits agree in a band at least, and most that differ in up to sixteen do; so images are sorted by each band in turn, and
each is compared with its next ``WINDOW`` neighbours of the same band. Work and memory grow with the number of images,
even where all of them look alike.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

CELLS = 144  # divisible by 8, 9 and 16: every grid below is a plain mean of blocks
SIDE = 16  # of the small grey picture
BANDS = 8
RADIUS = 16  # bits of 128
WINDOW = 24
CORRELATION = 0.98
SAME = 0.999  # above: worth comparing every pixel
FLAT = 4.0  # grey levels of deviation: below there is nothing to compare but the pixels themselves
SMALLEST = 16  # pixels: a shorter side holds too little; every handwritten 1 of 8 x 8 looks like another
RISE = 2.0  # grey levels: even areas stay 0, whatever a JPEG's noise does there
CHUNK = 4096  # pairs compared at once
ONES = np.array([bin(i).count("1") for i in range(1 << 16)], dtype=np.uint8)


def portrait(image: Image.Image) -> tuple[bytes, bytes]:
    """The hash (16 bytes) and the small grey picture (``SIDE`` x ``SIDE`` bytes) of an RGB image."""
    grey = image.convert("L").resize((CELLS, CELLS), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32)
    across, down = _means(pixels, 8, 9), _means(pixels, 9, 8)
    rises = np.concatenate([np.diff(across, axis=1).ravel(), np.diff(down, axis=0).ravel()]) > RISE
    return np.packbits(rises).tobytes(), _means(pixels, SIDE, SIDE).round().astype(np.uint8).tobytes()


def _means(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    blocks = pixels.reshape(rows, CELLS // rows, columns, CELLS // columns)
    return np.asarray(blocks.mean(axis=(1, 3)))


def pairs(hashes: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures look alike.

    Args:
        hashes: (N, 16) uint8.
        small: (N, SIDE * SIDE) uint8.

    Returns:
        Pairs of indices (M, 2), the smaller first, in order; and their correlations (M,).
    """
    n, pictures = len(hashes), _standardised(small)
    pair, certainty = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    for first, second in _proposed(hashes):
        both = np.minimum(first, second) * n + np.maximum(first, second)  # a pair as one number
        correlation = _correlation(pictures, first, second)
        close = correlation >= CORRELATION
        # The same pair may be proposed by several bands.
        pair, at = np.unique(np.concatenate([pair, both[close]]), return_index=True)
        certainty = np.concatenate([certainty, correlation[close]])[at]
    return np.stack([pair // max(n, 1), pair % max(n, 1)], axis=1), certainty


def _correlation(pictures: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of pairs of rows (M,); a part of them at a time, for the memory's sake."""
    parts = [np.empty(0, dtype=np.float32)]
    for start in range(0, len(first), CHUNK):
        a, b = (pictures[index[start : start + CHUNK]] for index in (first, second))
        parts.append(np.einsum("ij,ij->i", a, b) / pictures.shape[1])
    return np.concatenate(parts)


def _proposed(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Band by band, pairs that share it, are neighbours in it, and differ in no more than ``RADIUS`` bits."""
    bands = np.ascontiguousarray(hashes).view(np.uint16)
    for band in range(BANDS):
        order = np.lexsort([bands[:, (band + k) % BANDS] for k in reversed(range(BANDS))])
        sorted_ = bands[order]
        near = [np.empty((2, 0), dtype=np.int64)]
        for step in range(1, WINDOW + 1):
            at = np.flatnonzero(sorted_[:-step, band] == sorted_[step:, band])
            if not len(at):
                break
            bits = ONES[sorted_[at] ^ sorted_[at + step]].sum(axis=1, dtype=np.int64)
            close = at[bits <= RADIUS]
            near.append(np.stack([order[close], order[close + step]]))
        first, second = np.concatenate(near, axis=1)
        yield first, second


def _standardised(small: np.ndarray) -> np.ndarray:
    values = small.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    deviation = values.std(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(deviation, 1e-6))


def comparable(width: int, height: int, small: bytes) -> bool:
    """Whether a picture holds enough to be compared by its looks."""
    return min(width, height) >= SMALLEST and float(np.frombuffer(small, dtype=np.uint8).std()) >= FLAT
