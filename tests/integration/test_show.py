"""`imgclf data show --crop-loss` and `--presize-demo`: what they measure, and the pictures."""

import json

import numpy as np
import pytest
from PIL import Image
from support import run_here

from imgclf.data import crop_loss
from imgclf.data.images import resize

SMALL = ("--size", "16", "--presize", "32")


@pytest.fixture
def photos(tmp_path, pictures):
    """Two classes: nine images of 40 x 30, one of 90 x 30, and one on its side."""
    root = tmp_path / "photos"
    pictures.files(root, *(f"{'ab'[i % 2]}/{i}.png" for i in range(9)), size=(40, 30))
    pictures.files(root, "a/wide.png", size=(90, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures.picture(40, 30, seed=99).save(root / "b" / "turned.jpg", exif=exif)
    return root


def test_costs_are_shares_of_the_area_and_a_factor_for_squish(photos):
    paths = ["a/0.png", "a/wide.png", "b/turned.jpg"]
    whole = crop_loss.measure(photos, paths, "crop")
    assert whole.costs == pytest.approx([1 / 4, 2 / 3, 1 / 4])
    assert crop_loss.measure(photos, paths, "pad").costs == pytest.approx([1 / 4, 2 / 3, 1 / 4])
    part = crop_loss.measure(photos, paths, "crop", crop_pct=0.5)
    assert part.costs == pytest.approx([1 - 3 / 16, 1 - 1 / 12, 1 - 3 / 16])
    shown, all_of_it = (crop_loss.sheet(photos, found, 1)[0][0] for found in (part, whole))
    assert (shown != all_of_it).any()
    assert crop_loss.measure(photos, paths, "squish").costs == pytest.approx([4 / 3, 3, 4 / 3])
    assert whole.worst(1) == [("a/wide.png", pytest.approx(2 / 3))]


@pytest.mark.parametrize("rule", ["crop", "pad"])
def test_the_share_is_what_the_resize_really_does(rule):
    marked = np.full((30, 90, 3), 200, np.uint8)
    loss = 1 - 30 / 90
    made = np.asarray(resize(Image.fromarray(marked), 90, "crop" if rule == "crop" else "pad", (0.5, 0.5)))
    assert made.shape == (90, 90, 3)
    kept = 30 * 30 / (90 * 30) if rule == "crop" else 90 * 30 / 90**2
    assert 1 - kept == pytest.approx(loss)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0] * 10, "crop"),
        ([4 / 3, 3 / 4, 3 / 2] * 4, "crop"),
        ([16 / 9] * 10, "squish"),
        ([3.0, 0.4] * 5, "pad"),
        ([1.0] * 8 + [4.0] * 2, "pad"),
    ],
)
def test_the_recommended_rule(ratios, expected):
    rule, why = crop_loss.recommend(np.array(ratios))
    assert rule == expected
    assert "%" in why


@pytest.mark.parametrize(("rule", "most"), [("crop", 2 / 3), ("pad", 2 / 3), ("squish", 3.0)])
def test_crop_loss_through_the_command_line(photos, tmp_path, rule, most):
    done = run_here(
        "data", "show", "-d", photos, *SMALL, "--set", f"augment.resize={rule}", "--crop-loss", "-o", "loss.png",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rule"], found["n_images"], found["recommended"]) == (rule, 11, "crop")
    assert found["max"] == pytest.approx(most)
    assert found["worst"][0]["path"] == "a/wide.png"
    with Image.open(tmp_path / "loss.png") as image:
        assert len(image.convert("L").getcolors()) > 20


def test_as_many_of_the_worst_are_shown_as_are_asked_for(photos, tmp_path):
    heights = []
    for n in (2, 11):
        done = run_here("data", "show", "-d", photos, *SMALL, "--crop-loss", "--n", n, "-o", f"{n}.png", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / f"{n}.png") as image:
            heights.append(image.height)
    assert heights[1] > 2 * heights[0]  # three rows of four


def test_the_presize_demo_uses_the_same_draws_and_repeats(photos, tmp_path):
    pixels = []
    for name in ("a.png", "b.png"):
        done = run_here("data", "show", "-d", photos, *SMALL, "--presize-demo", "-o", name, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["images"]) == 4
        pixels.append((tmp_path / name).read_bytes())
    assert pixels[0] == pixels[1]


def test_presizing_keeps_more_detail_than_the_naive_order(pictures):
    import random

    from imgclf.data import presize_demo

    rng = random.Random(0)
    contrast = []
    for seed in range(3):
        pair = presize_demo.both(pictures.noise(96, 96, seed=seed), 96, 48, presize_demo.draw(rng))
        contrast.append([float(np.diff(p.astype(int), axis=1).std()) for p in pair])
        assert all(p.shape == (48, 48, 3) for p in pair)
    assert all(presized > naive for presized, naive in contrast)


@pytest.mark.parametrize("kind", ["presize-demo", "crop-loss"])
def test_each_picture_has_a_name_of_its_own(photos, tmp_path, kind):
    done = run_here("data", "show", "-d", photos, *SMALL, f"--{kind}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"] == f"{kind}.png"
    assert [p.name for p in tmp_path.glob("*.png")] == [f"{kind}.png"]


def test_two_pictures_at_once_are_refused(photos, tmp_path):
    done = run_here("data", "show", "-d", photos, "--presize-demo", "--crop-loss", cwd=tmp_path)
    assert done.returncode == 2
    assert "one at a time" in done.stderr
    assert not (tmp_path / "batch.png").exists()


def test_a_batch_says_what_a_run_may_choose_otherwise(photos, tmp_path):
    """Digits shown mirrored would look like a fault of the recipe, which asks first."""
    given = ("data", "show", "-d", photos, *SMALL, "-o")
    done = run_here(*given, "open.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "augment.flip" in done.stderr and "--dry-run" in done.stderr
    settled = ("--set", "augment.flip=false", "--set", "augment.crop_pct=1", "--set", "augment.p_affine=0.75")
    assert "--dry-run" not in run_here(*given, "settled.png", *settled, cwd=tmp_path).stderr
