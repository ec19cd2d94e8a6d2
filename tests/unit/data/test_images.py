"""One decoder and one resize for training, prediction and export; they are fastai's pixels, minus its traps."""

import contextlib
import csv
import io
import os
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import ROOT, SHARED

from imgclf.data import images
from imgclf.data.colours import to_rgb
from imgclf.data.images import Preprocess, decode, resize, squared

METHODS = {"crop": "crop", "pad": "pad", "squish": "squish"}


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# Resizing equals fastai's Resize


def fastai_resize(image, size, rule, split_idx=1):
    from fastai.vision.all import PILImage, Resize

    # fastai subclasses the image it is given in place.
    return np.asarray(Resize(size, method=rule, pad_mode="reflection")(PILImage(image.copy()), split_idx=split_idx))


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("shape", [(64, 64), (80, 60), (61, 97), (300, 20), (21, 200), (33, 32), (10, 11)])
@pytest.mark.parametrize("size", [24, 48])
def test_the_model_sees_the_pixels_of_fastais_validation_resize(pictures, shape, rule, size):
    image = pictures.noise(*shape, seed=sum(shape))
    ours = np.asarray(Preprocess(size, rule).fit(image))
    assert ours.shape == (size, size, 3)
    np.testing.assert_array_equal(ours, fastai_resize(image, size, rule))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(2, 90), st.sampled_from(["crop", "squish"]), st.sampled_from([8, 17, 32, 49]))
def test_resize_equals_fastais_for_any_shape(width, height, rule, size):
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
    theirs = fastai_resize(image, size, rule)
    ours = np.asarray(Preprocess(size, rule).fit(image))
    scale = min(width, height) / size
    if int(scale * size) == min(width, height):  # else fastai loses a column to rounding: int(27 / 49 * 49) == 26
        np.testing.assert_array_equal(ours, theirs)
    assert ours.shape == theirs.shape


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 300), (300, 2), (3, 3)])
def test_tiny_and_thin_images_come_to_size(pictures, rule, shape):
    assert Preprocess(16, rule).fit(pictures.noise(*shape)).size == (16, 16)


@pytest.mark.parametrize(("at", "column"), [((0.0, 0.5), 0), ((0.5, 0.5), 10), ((1.0, 0.5), 20)])
def test_a_crop_lies_where_it_is_asked_to(at, column):
    ramp = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    cropped = np.asarray(resize(Image.fromarray(ramp), 20, "crop", at))
    np.testing.assert_array_equal(cropped[0, :, 0], np.arange(column, column + 20))


@pytest.mark.parametrize(("share", "shown"), [(1.0, (10, 30)), (0.75, (12, 27)), (0.1, (19, 21)), (0.01, (19, 20))])
def test_a_crop_shows_the_share_of_the_shorter_side_that_is_asked_for(share, shown):
    ramp = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None], 20, axis=0).repeat(3, axis=2)
    found = np.asarray(squared(Image.fromarray(ramp), 8, "crop", (0.5, 0.5), share))
    assert found.shape[0] == found.shape[1]
    np.testing.assert_array_equal(found[0, :, 0], np.arange(*shown))


def test_a_part_of_an_image_is_decoded_as_finely_as_all_of_it():
    whole, part = Preprocess(224), Preprocess(224, crop_pct=0.875)
    assert (whole.resized, part.resized) == (224, 256)
    assert (whole.decode_pixels, part.decode_pixels) == (448, 512)


def test_a_part_of_an_image_is_what_torchvision_and_fastai_show_of_it(pictures):
    """The published preprocessing of ImageNet's ResNets: the shorter side to 256 pixels, the centre 224 of that."""
    from fastai.vision.all import CropPad, PILImage, Resize
    from torchvision.transforms import CenterCrop

    image = pictures.picture(500, 375)
    found = np.asarray(Preprocess(224, crop_pct=224 / 256).fit(image))
    theirs = CropPad(224)(Resize(256, method="crop")(PILImage(image), split_idx=1), split_idx=1)
    np.testing.assert_array_equal(found, np.asarray(theirs))
    square = image.crop((62, 0, 437, 375)).resize((256, 256), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(CenterCrop(224)(square)))


@given(st.integers(4, 300), st.floats(0.1, 1), st.integers(1, 40), st.integers(1, 40))
def test_whatever_the_share_the_model_gets_its_size(size, share, width, height):
    assert Preprocess(size, crop_pct=share).fit(Image.new("RGB", (width, height))).size == (size, size)


def test_padding_reflects_the_picture_and_keeps_all_of_it(pictures):
    image = pictures.noise(20, 10)
    padded = np.asarray(resize(image, 20, "pad", (0.5, 0.5)))
    np.testing.assert_array_equal(padded[5:15], np.asarray(image))
    np.testing.assert_array_equal(padded[4], np.asarray(image)[1])


def test_load_gives_bytes_of_the_models_size(tmp_path, pictures):
    path = saved(tmp_path, pictures.picture(50, 40), "a.png")
    loaded = Preprocess(16).load(path)
    assert (loaded.shape, loaded.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_array_equal(loaded, np.asarray(Preprocess(16).fit(pictures.picture(50, 40))))


def test_the_record_survives_json():
    import json

    record = Preprocess(32, "pad", mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    assert Preprocess.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert not {"crop_pct", "grey_range"} & record.to_dict().keys()  # which versions before them would refuse
    part = Preprocess(32, crop_pct=0.875)
    assert Preprocess.from_dict(json.loads(json.dumps(part.to_dict()))) == part


# Orientation

UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
AS_STORED = {  # what a camera stores so that the EXIF tag brings back UPRIGHT
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("tag", AS_STORED)
def test_exif_orientation_is_applied(tmp_path, tag, suffix):
    exif = Image.Exif()
    exif[0x0112] = tag
    stored = Image.fromarray(np.ascontiguousarray(AS_STORED[tag])).convert("RGB")
    path = saved(tmp_path, stored, f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(np.asarray(decode(path))[..., 0], UPRIGHT)


def test_a_draft_decode_of_a_turned_photograph_is_upright_too(tmp_path, pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, pictures.picture(320, 160), "a.jpg", exif=exif)
    assert decode(path).size == (160, 320)
    assert decode(path, at_least=20).size == (20, 40)


# Modes

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def palette_with_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.info["transparency"] = 1
    return image


def grey(values, dtype):
    return Image.fromarray(np.array([values], dtype=dtype))


def keyed(mode, values, transparent):
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    image.info["transparency"] = transparent
    return image


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (Image.new("RGB", (1, 1), RED), [RED]),
        (Image.new("RGBA", (1, 1), (255, 0, 0, 255)), [RED]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 0)), [WHITE]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), [(204, 204, 204)]),
        (Image.new("LA", (1, 1), (10, 0)), [WHITE]),
        (Image.new("LA", (1, 1), (10, 255)), [(10, 10, 10)]),
        (Image.new("L", (1, 1), 77), [(77, 77, 77)]),
        (Image.new("1", (1, 1), 1), [WHITE]),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), [RED]),
        (palette_with_transparency(), [RED, WHITE]),
        (keyed("RGB", [(1, 2, 3), (9, 9, 9)], (9, 9, 9)), [(1, 2, 3), WHITE]),
        (keyed("L", [5, 9], 9), [(5, 5, 5), WHITE]),
        (grey([0, 32768, 65535], np.uint16), [BLACK, (128,) * 3, WHITE]),
        (grey([0, 300, 65535], np.int32), [BLACK, (1, 1, 1), WHITE]),
        (grey([0, 128, 255], np.int32), [BLACK, (128,) * 3, WHITE]),
        (grey([-100, 0, 100], np.int32), [BLACK, (128,) * 3, WHITE]),
        (grey([0.0, 0.5, 1.0], np.float32), [BLACK, (128,) * 3, WHITE]),
        (grey([0.0, 100.0, 255.0], np.float32), [BLACK, (100,) * 3, WHITE]),
        (grey([0.0, 150.0, 300.0], np.float32), [BLACK, (128,) * 3, WHITE]),
        (grey([0.0, np.nan, 1.0], np.float32), [BLACK, BLACK, WHITE]),
        (grey([0, 0], np.uint16), [BLACK, BLACK]),
        (grey([7.0, 7.0], np.float32), [(7, 7, 7)] * 2),
    ],
    ids=lambda v: f"{v.mode}-{v.size[0]}" if isinstance(v, Image.Image) else "",
)
def test_every_mode_becomes_the_rgb_a_person_would_see(image, pixels):
    converted = to_rgb(image)
    assert converted.mode == "RGB"
    assert [tuple(p) for p in np.asarray(converted).reshape(-1, 3).tolist()] == pixels


def test_16_bit_grey_files_are_not_white(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for name in ("a.png", "a.tif"):
        decoded = np.asarray(decode(saved(tmp_path, Image.fromarray(ramp), name)))[..., 0]
        np.testing.assert_allclose(decoded, ramp / 257, atol=0.51)


def test_16_bit_grey_with_a_transparent_value_is_not_white(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(ramp), "a.png")
    png, chunk = path.read_bytes(), b"tRNS" + struct.pack(">H", 100)  # which Pillow before 10.3 cannot write itself
    behind = png.index(b"IDAT") - 4
    transparent = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(png[:behind] + transparent + png[behind:])
    assert Image.open(path).info["transparency"] == 100
    decoded = np.asarray(decode(path))[..., 0]
    assert 120 < decoded.mean() < 135


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLACK)]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert decode(path).getpixel((0, 0)) == RED


# The JPEG shortcut


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(4, 1024))
@example(638, 638, 320)  # by rounding down, half of it would have done
@example(1836, 3000, 460)
def test_a_draft_is_never_asked_for_less_than_is_needed(width, height, at_least):
    asked = images.draft_size((width, height), at_least)
    assert min(asked) >= min(at_least, width, height)
    assert asked[0] <= width and asked[1] <= height


@pytest.mark.parametrize("shape", [(638, 638), (640, 480), (500, 333), (100, 900), (321, 1000)])
@pytest.mark.parametrize("at_least", [32, 160, 320])
def test_a_draft_decode_keeps_at_least_the_size_and_looks_the_same(tmp_path, pictures, shape, at_least):
    path = saved(tmp_path, pictures.picture(*shape), "a.jpg", quality=95)
    full, draft = decode(path), decode(path, at_least)
    assert full.size == shape
    assert min(draft.size) >= min(at_least, *shape)
    if min(shape) >= 2 * at_least:
        assert draft.width < full.width
    size = min(at_least, *shape)
    fitted = [np.asarray(Preprocess(size).fit(image)).astype(int) for image in (full, draft)]
    assert np.abs(fitted[0] - fitted[1]).mean() < 5


def test_other_formats_are_decoded_in_full(tmp_path, pictures):
    assert decode(saved(tmp_path, pictures.picture(400, 300), "a.png"), at_least=20).size == (400, 300)


# Files that cannot be decoded


def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (300, 300)), "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 80_000)
    with pytest.raises(ValueError, match="300 x 300 pixels: more than the limit of 80,000"):
        decode(path)


def test_a_bomb_is_refused(tmp_path):
    path = saved(tmp_path, Image.new("1", (14_000, 14_000)), "bomb.png")
    with pytest.raises(ValueError, match="196,000,000 pixels: more than the limit of 150,000,000"):
        decode(path)  # one limit is named, though Pillow has another and comes first


def test_padding_a_panorama_takes_no_more_memory_than_a_large_photograph(monkeypatch, pictures):
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    padded = []
    real = np.pad
    monkeypatch.setattr(np, "pad", lambda pixels, *a, **k: padded.append(real(pixels, *a, **k)) or padded[-1])
    assert Preprocess(16, "pad").fit(pictures.noise(3000, 5)).size == (16, 16)
    assert [p.shape for p in padded] == [(64, 64, 3)]


def test_padding_ends_where_even_the_small_square_is_large(monkeypatch, pictures):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    assert Preprocess(20, "pad").fit(pictures.noise(40, 2)).size == (20, 20)


READABLE = {"JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "TIFF": {}, "WEBP": {}, "PPM": {}, "TGA": {}}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(READABLE)), st.data())
def test_a_damaged_file_raises_nothing_but_what_is_promised(tmp_path_factory, form, data):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(stream, form)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        assert decode(path).mode == "RGB"


@pytest.mark.parametrize("error", [RuntimeError("x"), IndexError("x"), KeyError("x"), AttributeError("x")])
def test_whatever_a_plug_in_raises_becomes_an_oserror(tmp_path, monkeypatch, error):
    def broken(path, formats=None):
        raise error

    path = saved(tmp_path, Image.new("L", (2, 2)), "a.png")
    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(OSError, match="damaged"):
        decode(path)


# The shared pack of awkward files


def manifest():
    """The rows of the pack's manifest, for a test each; none where the pack is not there."""
    archive = SHARED / "data" / "odd-images.tar"
    if not archive.is_file():
        return []
    with tarfile.open(archive) as tar, tar.extractfile("odd-images/manifest.csv") as stream:
        return list(csv.DictReader(io.TextIOWrapper(stream, "utf-8", newline="")))


ODD = manifest()


@pytest.mark.real
def test_the_manifest_names_every_awkward_file(odd_images):
    assert len(ODD) == 79
    assert all((odd_images / row["fname"]).is_file() for row in ODD)


@pytest.mark.real
@pytest.mark.parametrize("row", ODD, ids=[row["fname"] for row in ODD])
def test_an_awkward_file_is_what_its_manifest_says(odd_images, row):
    path = odd_images / row["fname"]
    if path.suffix == ".avif" and path.suffix not in Image.registered_extensions():
        pytest.skip("this Pillow reads no AVIF; from 11.3 on it does")
    if row["expected"] != "readable":
        with pytest.raises((OSError, ValueError, SyntaxError, Image.DecompressionBombError)):
            decode(path)
        return
    decoded = decode(path)
    turned = "exif" in path.name and path.stem[-1] in "568"
    size = (int(row["width"]), int(row["height"]))
    assert decoded.mode == "RGB"
    assert decoded.size == (size[::-1] if turned else size)
    assert Preprocess(32).fit(decoded).size == (32, 32)


@pytest.mark.real
@pytest.mark.parametrize("tag", [2, 3, 5, 6, 8])
def test_turned_photographs_equal_their_upright_copy(odd_images, tag):
    upright = np.asarray(decode(odd_images / "good/exif-orientation-1.jpg")).astype(int)
    turned = np.asarray(decode(odd_images / f"good/exif-orientation-{tag}.jpg")).astype(int)
    assert np.abs(upright - turned).mean() < 3


@pytest.mark.real
@pytest.mark.parametrize("name", ["gray16.png", "gray16.tif", "float32.tif", "cmyk.jpg", "la.png", "rgba.png"])
def test_no_awkward_photograph_comes_out_white_or_black(odd_images, name):
    pixels = np.asarray(decode(odd_images / "good" / name))
    assert 20 < pixels.mean() < 245
    assert pixels.std() > 10


# Only the kinds that are promised, whatever a file is called

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"


def other_kinds() -> dict[str, bytes]:
    """A file of every kind that Pillow writes and reads, and that is none of ours."""
    made = {"EPS": EPS}
    Image.init()
    for kind in sorted(set(Image.SAVE) & set(Image.OPEN) - set(images.KINDS) - {"EPS", "MPO"}):
        stream = io.BytesIO()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # kinds of other modes
            Image.new("RGB", (64, 64), RED).save(stream, kind)
            made[kind] = stream.getvalue()
    return made


def test_rarely_used_kinds_and_postscript_are_not_read_under_any_name(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    from imgclf.data.channels import all_grey
    from imgclf.data.inspection import inspect_file

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("a program of the machine was started"))
    found = other_kinds()
    assert {"EPS", "ICO", "PCX", "SGI", "IM"} <= found.keys()
    for kind, data in found.items():
        path = tmp_path / f"{kind}.jpg"
        path.write_bytes(data)
        assert inspect_file(path).look is None
        for read in (decode, lambda p: all_grey([p]), lambda p: images.decode_stranger(p.read_bytes(), 8, 10**6)):
            with pytest.raises((OSError, ValueError, SyntaxError)):
                read(path)
    assert "PostScript" in inspect_file(tmp_path / "EPS.jpg").reason


def test_no_other_plug_in_of_pillow_is_loaded_to_read_a_file(tmp_path):
    (tmp_path / "x.jpg").write_bytes(EPS)
    code = (
        "import sys; from pathlib import Path; from imgclf.data.inspection import inspect_file\n"
        "assert not inspect_file(Path(sys.argv[1])).look; print(*[m for m in sys.modules if m.endswith('Plugin')])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.jpg"], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("PIL.").removesuffix("ImagePlugin") for name in done.stdout.split()}
    assert loaded <= set(images.KINDS.values()) and "Jpeg" in loaded


def test_every_promised_suffix_is_of_a_kind_that_is_read():
    Image.init()
    kinds = {Image.registered_extensions().get(suffix, "") for suffix in images.SUFFIXES} - {""}
    assert kinds <= set(images.KINDS)
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert all(f".{suffix[1:]}" in page for suffix in images.SUFFIXES)


def test_the_pages_of_a_tiff_are_counted_in_bounded_time(tmp_path, monkeypatch):
    from imgclf.data import inspection

    pages = [Image.new("L", (2, 2), i) for i in range(9)]
    path = saved(tmp_path, pages[0], "a.tif", save_all=True, append_images=pages[1:])
    assert inspection.inspect_file(path).look.frames == 9
    monkeypatch.setattr(inspection, "MOST_PAGES", 4)
    assert inspection.inspect_file(path).look.frames == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_called_like_an_image_is_told_and_not_waited_for(tmp_path):
    from imgclf.data import changes
    from imgclf.data.inspection import inspect_file
    from imgclf.data.samples import Sample

    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    assert "pipe" in inspect_file(path).reason
    with pytest.raises(OSError, match="pipe"):
        decode(path)
    assert changes.now(tmp_path, [changes.Recorded(Sample("pipe.jpg", ("a",)), "", "")]) == {}
