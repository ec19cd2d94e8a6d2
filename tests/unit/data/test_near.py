"""Pictures that look alike are found, others are not, and the work stays linear."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from support import photo, saved

from imgclf.data import near

CHANGES = {
    "saved again": lambda image: saved(image, 60),
    "saved badly": lambda image: saved(image, 25),
    "smaller": lambda image: image.resize((120, 90), Image.Resampling.LANCZOS),
    "larger": lambda image: image.resize((640, 480)),
    "squeezed": lambda image: image.resize((200, 200)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def compare(*images: Image.Image) -> list[list[int]]:
    hashes, small = zip(*map(near.portrait, images), strict=True)
    arrays = [np.frombuffer(b"".join(x), dtype=np.uint8).reshape(len(images), -1) for x in (hashes, small)]
    return near.pairs(*arrays)[0].tolist()


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change):
    images = [photo(seed) for seed in range(8)]
    assert compare(*images, CHANGES[change](images[3])) == [[3, 8]]


def test_mirrored_turned_and_strongly_cut_copies_are_not():
    image = photo(1)
    others = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.rotate(90), image.crop((0, 0, 200, 150))]
    assert compare(image, *others) == []


def test_different_pictures_are_different():
    assert compare(*(photo(seed) for seed in range(150))) == []


def test_the_hash_alone_is_not_enough():
    """Equal hashes and other small pictures: no pair."""
    hashes = np.zeros((2, 16), dtype=np.uint8)
    small = np.random.default_rng(0).integers(0, 256, (2, near.SIDE**2), dtype=np.uint8)
    assert len(near.pairs(hashes, small)[0]) == 0
    small[1] = small[0]
    assert near.pairs(hashes, small)[0].tolist() == [[0, 1]]


def test_up_to_seven_bits_apart_are_always_proposed():
    random = np.random.default_rng(0)
    bits = random.integers(0, 2, 128)
    for _ in range(200):
        other = bits.copy()
        other[random.choice(128, 7, replace=False)] ^= 1
        both = np.packbits(np.stack([bits, other]), axis=1)
        assert sum(len(first) for first, _ in near._proposed(both))


def test_work_is_linear_even_where_everything_is_alike():
    n = 3000
    hashes = np.zeros((n, 16), dtype=np.uint8)
    proposed = sum(len(first) for first, _ in near._proposed(hashes))
    assert proposed <= near.BANDS * near.WINDOW * n


def test_nothing_and_one_picture_have_no_pairs():
    for n in (0, 1):
        found, correlation = near.pairs(np.zeros((n, 16), np.uint8), np.zeros((n, 256), np.uint8))
        assert (found.shape, correlation.shape) == ((0, 2), (0,))


@pytest.mark.parametrize(
    ("size", "colours", "enough"), [((64, 64), 255, True), ((64, 15), 255, False), ((64, 64), 3, False)]
)
def test_small_and_flat_pictures_are_not_compared_by_their_looks(size, colours, enough):
    pixels = np.random.default_rng(0).integers(0, colours, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
    assert near.comparable(*size, near.portrait(image)[1]) == enough
