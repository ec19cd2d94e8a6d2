"""The files the documents name, as stand-ins: generated pictures, weights that were never trained, small tables.

``furnish`` makes what most pages need. ``provide`` makes what a single line needs, just before it runs: `BEFORE` says
which line by a part of it.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import judged
import numpy as np
import shapes
from PIL import Image

if TYPE_CHECKING:
    from sandbox import Sandbox

WEIGHTS = {"resnet18": "resnet18-f37072fd", "resnet34": "resnet34-b627a593", "resnet50": "resnet50-11ad3fa6"}
COPIES = {"WEIGHTS": "resnet18", "resnet18-imagenet-pqf.pth": "resnet18", "my-resnet50.pth": "resnet50"}
IMAGES = ("photo.jpg", "cat.jpg", "dog.jpg", "a.jpg", "b.jpg", "more-photos/1.jpg", "more-photos/2.jpg", "FOLDER/1.jpg")


def furnish(home: Path) -> Path:
    """A home folder with photos of three classes, data sets by the names the pages use, and weights."""
    for folder in ("photos", "other-photos"):
        _named(judged.photos(home / folder, 10, parts=("",)))
    judged.photos(home / "parts", 8)
    judged.photos(home / "bees-ants", 8, parts=("train", "val"))
    flat = home / "pets-mini" / "images"
    flat.mkdir(parents=True)
    for file in (home / "photos").glob("*/*"):
        shutil.copy(file, flat)
    shutil.copytree(flat, home / "PATH" / "images")
    shutil.copytree(flat, home / "imagenet-samples" / "images")
    _several_labels(home / "multilabel-mini")
    for name in IMAGES:
        (home / name).parent.mkdir(exist_ok=True)
        Image.open(flat / "red_20.jpg").resize((90, 70)).save(home / name)
    _weights(home)
    return home


def _named(folder: Path) -> None:
    """Let files in class folders be called ``CLASS_1.jpg``: the name tells the class too."""
    for i, file in enumerate(sorted(folder.glob("*/*.png"))):
        Image.open(file).save(file.with_name(f"{file.parent.name}_{i}.jpg"), quality=95)
        file.unlink()


def _several_labels(folder: Path) -> None:
    """Pictures and a table as fastai's PASCAL_2007 has them."""
    shapes.write_multi(folder, 96)
    (folder / "images").rename(folder / "train")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["image"], row["labels"], i % 4 == 0) for i, row in enumerate(csv.DictReader(file))]
    (folder / "labels.csv").unlink()
    _table(folder / "train.csv", ("fname", "labels", "is_valid"), rows)


def _weights(home: Path) -> None:
    """Where torchvision looks for them, and by the names the pages give."""
    import torch

    from imgclf.networks.bodies import BUILDERS

    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    for arch, file in WEIGHTS.items():
        torch.save(BUILDERS[arch](weights=None).state_dict(), cache / f"{file}.pth")
    for name, arch in COPIES.items():
        (home / name).symlink_to(cache / f"{WEIGHTS[arch]}.pth")


def _table(file: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])


# -- What one line needs ----------------------------------------------------------------------------------------------


def _no_file(name: str) -> Callable[["Sandbox"], None]:
    return lambda box: (box.home / name).unlink(missing_ok=True)


def _line(command: str) -> Callable[["Sandbox"], None]:
    """What another command makes."""

    def run(box: "Sandbox") -> None:
        done = box.line(command)
        assert done.returncode == 0, done.stderr

    return run


def _reshaped(box: "Sandbox") -> Path:
    """The folder `photos`, marked: the next line that names it finds it as it was."""
    (box.home / "reshaped").touch()
    return box.home / "photos"


def _names_with_dots(box: "Sandbox") -> None:
    _reshaped(box)
    files = sorted((box.home / "photos").glob("*/*"))
    for i, file in enumerate(files):
        file.rename(box.home / "photos" / f"{file.parent.name}.{i}.jpg")
    for folder in {file.parent for file in files}:
        folder.rmdir()


def _beside_a_table(label: str, prefix: str) -> Callable[["Sandbox"], None]:
    """``photos`` as a folder `images` and a table with a column ``label``."""

    def make(box: "Sandbox") -> None:
        photos = _reshaped(box)
        shutil.rmtree(photos)
        shutil.copytree(box.home / "pets-mini" / "images", photos / "images")
        names = sorted(file.name for file in (photos / "images").iterdir())
        _table(photos / "labels.csv", ("image", label), [(f"{prefix}{name}", name.split("_")[0]) for name in names])

    return make


def _patients(box: "Sandbox") -> None:
    """Photos of four patients a class, as ``red/p3_1.jpg``."""
    for folder in _reshaped(box).iterdir():
        for i, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"{folder.name}p{i % 4}_{i}.jpg")


def _table_of_patients(box: "Sandbox") -> None:
    """``labels.csv`` with patients and days."""
    files = sorted((box.home / "other-photos").glob("*/*.jpg"))
    rows = [
        (f"other-photos/{f.parent.name}/{f.name}", f.parent.name, f"p{i % 6}", f"2026-0{5 + i % 2}-01")
        for i, f in enumerate(files)
    ]
    _table(box.home / "labels.csv", ("image", "label", "patient", "day"), rows)


def _frames(box: "Sandbox") -> None:
    """Frames of three films a class."""
    for file in sorted((box.home / "other-photos").glob("*/*.jpg")):
        label, number = file.stem.split("_")
        target = box.home / "frames" / label / f"{label}{int(number) % 3}__{int(number):05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def _pets(box: "Sandbox") -> None:
    """Where fastai would have unpacked them."""
    target = box.home / ".fastai" / "data" / "oxford-iiit-pet" / "images"
    shutil.copytree(box.home / "pets-mini" / "images", target, dirs_exist_ok=True)


def _grey_scans(box: "Sandbox") -> None:
    if (box.home / "scans").exists():
        return
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (box.home / "scans" / name).mkdir(parents=True)
        for i in range(8):
            pixels = (level + rng.normal(scale=20, size=(32, 32))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(box.home / "scans" / name / f"{i}.png")


def _tables_of_others(box: "Sandbox") -> None:
    """``PATH``: one label an image, and several."""
    path = box.home / "PATH"
    names = sorted(file.name for file in (path / "images").iterdir())
    rows = [(name, name.split("_")[0], i % 4 == 0) for i, name in enumerate(names)]
    _table(path / "labels.csv", ("fname", "label", "is_valid"), rows)
    shutil.copytree(box.home / "multilabel-mini", path, dirs_exist_ok=True)


def _stopped(box: "Sandbox") -> None:
    """The run `mine` as a kill leaves it that comes after the last checkpoint and before the end."""
    manifest = box.home / "runs" / "mine" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "status": "interrupted"}))


def _corrections(run: str) -> Callable[["Sandbox"], None]:
    def make(box: "Sandbox") -> None:
        with (box.home / "runs" / run / "split.csv").open(encoding="utf-8", newline="") as file:
            path = next(csv.DictReader(file))["path"]
        _table(box.home / "corrections.csv", ("path", "action", "label"), [(path, "relabel", "green")])

    return make


def _long_ago(box: "Sandbox") -> None:
    (box.home / "last-time").touch()
    os.utime(box.home / "last-time", (0, 0))


def _several_thresholds(box: "Sandbox") -> None:
    """As the file of a model for several labels has them."""
    classes: Any = box.names["classes"]
    facts: Any = box.names["facts"]
    box.names["facts"] = {**facts, "thresholds": json.dumps([0.5] * len(classes))}


def _foreign_models(box: "Sandbox") -> None:
    """Models of other libraries with three classes."""
    import timm
    import torch
    from safetensors.torch import save_file

    from imgclf.networks.bodies import BUILDERS

    (box.home / "names.txt").write_text("blue\ngreen\nred\n")
    model = BUILDERS["resnet50"](weights=None)
    model.fc = torch.nn.Linear(model.fc.in_features, 3)
    torch.save(model.state_dict(), box.home / "resnet50.pth")
    save_file(timm.create_model("convnext_atto", num_classes=3).state_dict(), box.home / "convnext.safetensors")
    _exported("pkl", "model.pkl", "export.pkl")(box)


def _efficientnet(box: "Sandbox") -> None:
    import timm
    import torch

    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), box.home / "efficientnet-lite0.pth")


def _exported(flags: str, made: str, name: str | None = None) -> Callable[["Sandbox"], None]:
    """A file of the run `mine`, exported into the working folder."""

    def export(box: "Sandbox") -> None:
        _line(f"imgclf export mine {flags if flags.startswith('-') else f'--format {flags}'} --out exported")(box)
        shutil.copy(box.home / "exported" / made, box.home / (name or made))
        for more in (box.home / "exported").glob("*.bin"):
            shutil.copy(more, box.home)

    return export


BEFORE: dict[str, Callable[["Sandbox"], None]] = {
    "imgclf config init my.yaml": _no_file("my.yaml"),
    "imgclf train -c my.yaml": _line("imgclf config init my.yaml --data ~/photos"),
    "-c pets -d PATH/images": lambda box: None,
    "-d PATH/": _tables_of_others,
    r"data.pattern=^(\w+)\.\d+": _names_with_dots,
    "~/photos/labels.csv --set": _beside_a_table("species", ""),
    "~/photos/labels.csv": _beside_a_table("label", "images/"),
    "-d ~/scans": _grey_scans,
    "--extend": lambda box: None,
    "train --resume": _stopped,
    "runs/mine/config.yaml --set data.corrections": _corrections("mine"),
    "corrections.csv": _corrections("first"),
    "compare mine yours": _line("imgclf train -d ~/photos --arch resnet50 --name yours"),
    "data.group_by=([^/_]+)_": _patients,
    "data.group_by=patient": _table_of_patients,
    "-d frames": _frames,
    "fastai:PETS": _pets,
    'facts["thresholds"]': _several_thresholds,
    "imgclf import export.pkl": _foreign_models,
    "efficientnet-lite0.pth": _efficientnet,
    "-newer last-time": _long_ago,
    "model.full.onnx": _exported("--full-preprocess", "model.full.onnx"),
    'InferenceSession("model.onnx")': _exported("onnx", "model.onnx"),
    "model.pt2": _exported("torch-export", "model.pt2"),
    "model.pkl": _exported("pkl", "model.pkl"),
    'read_model("model.xml")': _exported("openvino", "model.xml"),
}


# A reader's own classes, and how many there are -> those here.
NAMES = {
    "--label cat": "--label red",
    "~/photos/cat": "~/photos/red",
    "{rare: 4}": "{red: 4}",
    "{defect: 3}": "{red: 3}",
    "many --top-k 5": "many --top-k 2",
}


def named(line: str) -> str:
    """The line with the classes there are."""
    for theirs, ours in NAMES.items():
        line = line.replace(theirs, ours)
    return line


def provide(box: "Sandbox", line: str) -> None:
    """What the first entry of ``BEFORE`` that is part of the line makes; before it, reshaped photos as they were."""
    if "~/photos" in line and (box.home / "reshaped").exists():
        (box.home / "reshaped").unlink()
        shutil.rmtree(box.home / "photos")
        shutil.copytree(box.home / "other-photos", box.home / "photos")
    for part, make in BEFORE.items():
        if part in line:
            make(box)
            return
