"""What the images are like, counted right."""

import pytest
from PIL import Image, __version__

from imgclf.data import balance, facts, survey
from imgclf.data.inspection import suffix_fits
from imgclf.data.samples import Sample

PILLOW = tuple(int(part) for part in __version__.split(".")[:2])


@pytest.fixture
def odd(tmp_path):
    made = {
        "rgb.png": Image.new("RGB", (40, 30)), "alpha.png": Image.new("RGBA", (20, 30)),
        "palette.png": Image.new("P", (40, 10)), "deep.png": Image.new("I;16", (40, 30)),
        "cmyk.jpg": Image.new("CMYK", (40, 30)), "grey.jpg": Image.new("L", (40, 30)),
    }  # fmt: skip
    for name, image in made.items():
        image.save(tmp_path / name)
    frames = [Image.new("RGB", (40, 30), (i * 90, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (40, 30)).save(tmp_path / "wrong.jpg", format="PNG")
    (tmp_path / "bad.png").touch()
    return survey.inspect(tmp_path, [Sample(p.name, ("a",)) for p in sorted(tmp_path.iterdir())])


def test_modes_formats_orientations_animations_and_suffixes_are_counted(odd):
    found = facts.of_images(odd)
    sixteen_bits = "I;16" if PILLOW >= (10, 3) else "I"  # Pillow's word for such a PNG
    assert found["modes"] == {"RGB": 3, "P": 2, "RGBA": 1, "CMYK": 1, sixteen_bits: 1, "L": 1}
    assert found["formats"] == {"PNG": 5, "JPEG": 3, "GIF": 1}
    assert found["exif_orientations"] == {"6": 1}
    assert found["animations"] == ["moving.gif"]
    assert found["wrong_suffix"] == [{"path": "wrong.jpg", "format": "PNG"}]


def test_sizes_are_those_of_the_upright_picture(odd):
    sizes = facts.of_images(odd)["sizes"]
    assert sizes["width"] == {"min": 20, "median": 40, "max": 40}
    assert sizes["height"] == {"min": 10, "median": 30, "max": 40}
    assert sizes["aspect"] == {"min": 0.667, "median": 1.333, "max": 4.0}
    assert sizes["extreme"] == [{"path": "palette.png", "width": 40, "height": 10}]


def test_nothing_readable_has_no_sizes():
    assert facts.of_images([])["sizes"] == {"width": {}, "height": {}, "aspect": {}, "extreme": []}


@pytest.mark.parametrize(
    ("name", "kind", "fits"),
    [
        ("a.JPG", "JPEG", True),
        ("a.jpg", "MPO", True),
        ("a.dib", "BMP", True),
        ("a.jpg", "GIF", False),
        ("a", "PNG", True),
    ],
)
def test_a_suffix_names_a_format(name, kind, fits):
    assert suffix_fits(name, kind) == fits


def test_uneven_classes_are_warned_about():
    (warning,) = facts.warnings({"a": 60, "b": 5})
    assert "'a' has 60 images, 'b' 5 (12 times as many)" in warning
    assert facts.warnings({}) == []


@pytest.mark.parametrize(("n", "uneven"), [(24, False), (25, True)])
def test_check_and_training_call_the_same_classes_uneven(make_config, n, uneven):
    counts = {"a": n, "b": 5}
    train = [Sample(f"{name}{i}", (name,), "train") for name, of in counts.items() for i in range(of)]
    assert bool(facts.warnings(counts)) == uneven
    assert ("data.balance=sampler" in balance.resolve(make_config(), train, ("a", "b")).note) == uneven
