"""The default recipe beside what others would do with the same images: validation error and seconds.

    python scripts/bench_recipe.py DATA… [--weights resnet18=FILE] [--arch resnet18] [--size 224] [--epochs 4]
        [--seeds 1 2 3] [--ways imgclf probe …] [--set KEY=VALUE] [--peer-python PYTHON] [--json FILE]

DATA is anything `imgclf train -d` takes, `digits` (the embedded ones, whose split the seed draws) or `textures`
(made here: band-passed noise, eight classes). With `@5` behind it, five training images a class are drawn, with each
seed others. Every way gets the same images, the same split, the same weights and the same number of epochs:

    imgclf      as it comes
    probe       imgclf --epochs 0
    regression  scikit-learn's logistic regression on the frozen body's features, its penalty cross-validated
    fastai      fine_tune(epochs, 2e-3) of plain fastai, batches of 32, Resize(460) (or augment.presize) and
                aug_transforms; on the CPU with channels_last, and bf16 where that is quicker: which it would not have
                by itself, so that the time is the recipe's
    ultralytics `yolo classify train` with its defaults, batches of 32; in the environment of --peer-python

For several labels an image the error is 1 - mAP, and only imgclf, probe and fastai take part. Without weights only
imgclf and fastai, both from random ones; fastai then by fit_one_cycle(epochs, 2e-3), since there is nothing to freeze.
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching

WAYS = ("imgclf", "probe", "regression", "fastai", "ultralytics")
TABLE = "table.csv"  # path, labels with | between them, is_valid
Found = dict[str, float]
Options = argparse.Namespace


def textures(folder: Path, seed: int, train: int = 30, valid: int = 60, side: int = 128) -> Path:
    """Noise of four directions and two coarsenesses, in any colour: a kind of image that no pretraining has seen."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.fft.fftfreq(side) * side, np.fft.fftfreq(side) * side, indexing="ij")
    radius, angle = np.hypot(x, y) + 1e-9, np.arctan2(y, x)
    for i in range(8 * (train + valid)):
        kind, part = i % 8, "train" if i < 8 * train else "valid"
        frequency = (10, 13)[kind // 4] * (1 + 0.12 * rng.standard_normal())
        turned = np.pi * (kind % 4) / 4 + 0.25 * rng.standard_normal()
        band = np.exp(-0.5 * (np.log(radius / frequency) / 0.35) ** 2 + 2 * np.cos(2 * (angle - turned)))
        noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * band).real
        colours = noise[..., None] / noise.std() * rng.uniform(0.3, 1, 3) + 0.8 * rng.standard_normal((side, side, 1))
        pixels = 128 + colours * rng.uniform(15, 45) + rng.uniform(-30, 30, 3)
        target = folder / part / f"kind{kind}" / f"{i:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target)
    return folder


def configured(settings: list[str], **more: Any) -> Any:
    """The configuration: imgclf's defaults, ``more``, and KEY=VALUE as `--set` takes it."""
    from imgclf.config import Override, load, parse_set

    return load(None, [*(Override(key, v, "here") for key, v in more.items()), *map(parse_set, settings)]).config


def lay_out(data: str, seed: int, settings: list[str], folder: Path) -> Path:
    """The data set as one table, and for one label an image also as folders of links: train/ and val/ with classes."""
    from imgclf.console import Terminal
    from imgclf.data.prepare import prepare

    name, _, few = data.partition("@")
    path = textures(folder / "made", seed) if name == "textures" else name
    dataset = prepare(configured(settings, **{"data.path": str(path), "seed": seed}), Terminal(quiet=True)).dataset
    training = list(dataset.train)
    if few:
        order = random.Random(seed).sample(training, len(training))
        seen = {c: [s for s in order if s.label == c][: int(few)] for c in dataset.classes}
        training = [s for samples in seen.values() for s in samples]
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels", "is_valid"])
        for valid, samples in ((False, training), (True, dataset.valid)):
            for i, s in enumerate(samples):
                labels = s.labels if dataset.multi_label else (s.label,)
                link = folder / "images" / ("val" if valid else "train") / labels[0] / f"{i}{Path(s.path).suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(dataset.path(s).resolve())
                writer.writerow([link.relative_to(folder), "|".join(labels), valid])
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def several(folder: Path) -> bool:
    """Whether the images have several labels each."""
    return any("|" in row["labels"] for row in rows(folder))


def source(folder: Path) -> tuple[Path, dict[str, Any]]:
    """What `imgclf train -d` is given, with the keys for it."""
    if several(folder):
        # The table's images are links out of its folder.
        return folder / TABLE, {"data.labels": "csv", "data.label_delim": "|", "data.allow_outside": True}
    return folder / "images", {}


def imgclf(o: Options, folder: Path, seed: int, epochs: int | None = None) -> Found:
    path, more = source(folder)
    data = ["-d", path, *(part for key, value in more.items() for part in ("--set", f"{key}={json.dumps(value)}"))]
    command = [
        sys.executable, "-m", "imgclf", "train", "--json", "-q", *data, "-a", o.arch, "--size", o.size, "--seed", seed,
        "-e", o.epochs if epochs is None else epochs, "--runs-dir", folder / "runs",
        "--set", f"model.weights={o.weights[o.arch]}" if o.weights else "model.pretrained=false",
        *(part for s in o.set for part in ("--set", s)),
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result = json.loads(done.stdout)
    shutil.rmtree(folder / "runs")
    return {
        "error": 1 - result["metrics"]["mAP"]["value"]
        if several(folder)
        else 1 - result["metrics"]["accuracy"]["value"]
    }


def probe(o: Options, folder: Path, seed: int) -> Found:
    return imgclf(o, folder, seed, epochs=0)


def regression(o: Options, folder: Path, seed: int) -> Found:
    import torch
    from torch import nn

    from imgclf.console import Terminal
    from imgclf.data.loaders import unaugmented
    from imgclf.training import features
    from imgclf.training.precision import autocast
    from imgclf.workflow import session
    from scripts.bench_probe import by_regression

    asked = {"data.path": str(folder / "images"), "model.arch": o.arch, "augment.size": o.size, "seed": seed,
             "model.weights": str(o.weights[o.arch]), "model.first_bn": False}  # fmt: skip
    s = session.start(configured(o.set, **asked), Terminal(quiet=True))
    parts = features.before_last(s.learn.model)
    assert parts is not None
    network: nn.Module = parts[0]
    x, y = features.extract(network, unaugmented(s.learn.dls), autocast(s.hardware))
    judged, answers = features.extract(network, s.learn.dls.valid, autocast(s.hardware))
    wrong = torch.as_tensor(by_regression(x, y, judged, len(s.data.dataset.classes))) != answers
    return {"error": wrong.double().mean().item()}


def presize(o: Options, folder: Path) -> int:
    """The side fastai's ``Resize`` gets: what imgclf presizes the images of this folder to."""
    asked = {"data.path": str(folder), "augment.size": o.size}
    return configured(o.set, **asked).augment.presize  # type: ignore[no-any-return]


def fastai(o: Options, folder: Path, seed: int) -> Found:
    import pandas as pd
    import torch
    from fastai.vision import all as fv

    from imgclf.training import quicker

    fv.set_seed(seed)
    many, flip = several(folder), "augment.flip=false" not in o.set
    table = pd.DataFrame(rows(folder))
    table["is_valid"] = table["is_valid"] == "True"
    dls = fv.ImageDataLoaders.from_df(
        table, folder, valid_col="is_valid", bs=32, num_workers=2, item_tfms=fv.Resize(presize(o, folder)),
        batch_tfms=fv.aug_transforms(size=o.size, min_scale=0.75, do_flip=flip), label_delim="|" if many else None,
    )  # fmt: skip
    whole = getattr(fv, o.arch)(weights=None)
    if o.weights:
        whole.load_state_dict(torch.load(o.weights[o.arch], weights_only=True))
    meta = fv.model_meta[getattr(fv, o.arch)]
    body = fv.create_body(whole, pretrained=True, cut=meta["cut"])
    model = fv.add_head(body, fv.num_features_model(body), fv.get_c(dls))
    metric = fv.APScoreMulti() if many else fv.error_rate
    learn = fv.Learner(dls, model, splitter=meta["split"], metrics=metric)
    if o.weights:
        learn.freeze()
    dls.add_tfms([fv.Normalize.from_stats(*meta["stats"])], "after_batch")
    if not torch.cuda.is_available():
        learn.model.to(memory_format=torch.channels_last)
        if quicker.best(torch.device("cpu"))[0] == "bf16":
            learn.add_cb(fv.MixedPrecision(amp_mode=fv.AMPMode.BF16))
            learn.mixed_precision.autocast = torch.autocast("cpu", torch.bfloat16)
    with learn.no_bar(), learn.no_logging():
        (learn.fine_tune if o.weights else learn.fit_one_cycle)(o.epochs, 2e-3)
    last = float(learn.recorder.values[-1][-1])
    return {"error": 1 - last if many else last}


ULTRALYTICS = """
import json, sys
from ultralytics.models.yolo.classify import ClassificationTrainer
trainer = ClassificationTrainer(overrides=json.loads(sys.argv[1]))
trainer.train()
print(json.dumps({"error": 1 - float(trainer.metrics["metrics/accuracy_top1"])}))
"""


def ultralytics(o: Options, folder: Path, seed: int) -> Found:
    import torchvision

    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    url = torchvision.models.get_model_weights(o.arch)["IMAGENET1K_V1"].url
    shutil.copy(o.weights[o.arch], cache / Path(url).name)
    # As its own yolo11-cls-resnet18.yaml; torchvision's networks have no other name there any more.
    network, width = folder / f"yolo11-cls-{o.arch}.yaml", 512 if o.arch in ("resnet18", "resnet34") else 2048
    body = f"backbone: [[-1, 1, TorchVision, [{width}, {o.arch}, IMAGENET1K_V1, True, 2]]]"
    network.write_text("\n".join(["nc: 1000", body, "head: [[-1, 1, Classify, [nc]]]"]) + "\n")
    asked = {
        "model": str(network), "data": str(folder / "images"), "epochs": o.epochs, "imgsz": o.size, "batch": 32,
        "seed": seed, "workers": 2, "project": str(folder / "peer"), "device": "cpu", "plots": False,
    }  # fmt: skip
    env = {**os.environ, "TORCH_HOME": str(folder / "torch"), "YOLO_OFFLINE": "true"}
    command = [o.peer_python, "-c", ULTRALYTICS, json.dumps(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {"error": float(json.loads(done.stdout.splitlines()[-1])["error"])}


def child(o: Options) -> None:
    """One way, once: in a process of its own, so that none profits from what another has loaded."""
    way: Callable[[Options, Path, int], Found] = globals()[o.child]
    started = time.perf_counter()
    found = way(o, o.folder, o.seeds[0])
    print(json.dumps({**found, "training_s": time.perf_counter() - started}))


def measure(o: Options) -> list[dict[str, Any]]:
    """Every way on every data set with every seed, in turns."""
    found = []
    for data in o.data:
        for seed in o.seeds:
            with tempfile.TemporaryDirectory() as temporary:
                folder = lay_out(data, seed, [f"augment.size={o.size}", *o.set], Path(temporary))
                for way in o.ways:
                    if several(folder) and way in ("regression", "ultralytics"):
                        continue
                    if not o.weights and way not in ("imgclf", "fastai"):
                        continue
                    weights = [f"{arch}={path}" for arch, path in o.weights.items()]
                    command = [sys.executable, __file__, "--child", way, "--folder", folder, "--seeds", seed,
                               "--arch", o.arch, "--size", o.size, "--epochs", o.epochs,
                               *(["--weights", *weights] if weights else []),
                               *(["--set", *o.set] if o.set else []), "--peer-python", o.peer_python]  # fmt: skip
                    figures = benching.run(command)
                    found.append({"data": data, "seed": seed, "way": way, **figures})
                    shown = f"error {figures['error']:.4f}, {figures['seconds']:.0f} s"
                    print(f"{data} seed {seed} {way}: {shown}", file=sys.stderr, flush=True)
    return found


def show(found: list[dict[str, Any]]) -> None:
    """Mean and spread of the error, and the median seconds, of every way on every data set."""
    for data in dict.fromkeys(row["data"] for row in found):
        print(data)
        for way in dict.fromkeys(row["way"] for row in found):
            of = [row for row in found if (row["data"], row["way"]) == (data, way)]
            if of:
                errors, seconds = [row["error"] for row in of], statistics.median(row["seconds"] for row in of)
                mean, spread = statistics.mean(errors), f"{min(errors):.3f} to {max(errors):.3f}"
                print(f"  {way:12}  error {mean:.3f} ({spread})   {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--weights", nargs="+", default=[], help="ARCH=FILE, as torchvision saves it")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[way for way in WAYS if way != "ultralytics"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for imgclf, and to read the data")
    parser.add_argument("--peer-python", default=sys.executable, help="an environment with ultralytics")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.weights = dict(given.split("=", 1) for given in options.weights)
    if options.child:
        child(options)
        return
    found = measure(options)
    show(found)
    benching.write(options, found=found)


if __name__ == "__main__":
    main()
