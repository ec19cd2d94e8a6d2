"""imgclf beside other trainers on the same photographs: ResNet-18 at 224 pixels, batches of 32, one epoch.

    python scripts/bench_peers.py [--images 96] [--photos FOLDER] [--weights FILE] [--peer-python PYTHON]
        [--only NAME …] [--json FILE]

Each trains from random weights, all layers, on the processor, as its own documentation writes it, with its own defaults
for augmentation, precision and optimizer, and two workers. With the weights of a ResNet-18 there is a row more: imgclf
as it comes on a pretrained network (the probe, then stages 3 and 4); what weights they begin with makes no difference
to the seconds of the others. Each runs in a process of its own, which waits while the
others have their turn. Images a second are those of the training batches, from the beginning of the epoch to its last
step; memory is the most a process and its workers held, without the code of libraries.

Peers that are not installed are left out, with the name of what to install. PYTHON is the interpreter of another
environment that has them, so that none of them has to be installed beside imgclf: a virtual environment with torch,
torchvision, fastai, timm, transformers, accelerate and ultralytics.
"""

import argparse
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import bench_train, benching
from scripts.benching import Figures

BATCH, SIZE, WORKERS, VALID = bench_train.BATCH, bench_train.SIZE, bench_train.WORKERS, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TUNING, WEIGHTS = "imgclf, fine-tuning", "BENCH_PEERS_WEIGHTS"
Epoch = Callable[[], float]  # trains one, and gives the seconds its training batches took


def imgclf(folder: Path, work: Path, weights: str = "") -> Epoch:
    from imgclf.config import load_config
    from imgclf.workflow.train import train

    settings = {
        "data.path": str(folder), "data.batch_size": BATCH, "data.workers": WORKERS, "augment.size": SIZE,
        "model.arch": "resnet18", "model.pretrained": bool(weights), "train.epochs": 1, "train.device": "cpu",
        **({"model.weights": weights} if weights else {"train.lr": 1e-3}),
    }  # fmt: skip
    cfg, n = load_config(None, **settings), len(list((folder / "train").rglob("*.jpg")))
    return lambda: n / train(cfg, runs_dir=work).images_per_second


def fine_tuning(folder: Path, work: Path) -> Epoch:
    return imgclf(folder, work, os.environ[WEIGHTS])


def fastai(folder: Path, work: Path) -> Epoch:
    learn = bench_train.of_fastai(folder, "resnet18", None)
    return lambda: bench_train.epoch_of_fastai(learn, 1)["seconds"]


def loop(model: Any, loader: Any, optimizer: Any, criterion: Any) -> float:
    """What the training scripts of timm and torchvision do for each batch."""
    model.train()
    started = time.perf_counter()
    for images, target in loader:
        loss = criterion(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # they log it
    return time.perf_counter() - started


def torchvision(folder: Path, work: Path) -> Epoch:
    """references/classification/train.py, with the transforms of its presets.py."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler
    from torchvision import models, transforms
    from torchvision.datasets import ImageFolder

    steps = transforms.Compose([
        transforms.RandomResizedCrop(SIZE, antialias=True), transforms.RandomHorizontalFlip(0.5),
        transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float), transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    data = ImageFolder(folder / "train", steps)
    loader: Any = DataLoader(data, BATCH, sampler=RandomSampler(data), num_workers=WORKERS, pin_memory=False)
    model = models.resnet18(weights=None, num_classes=len(data.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return lambda: loop(model, loader, optimizer, torch.nn.CrossEntropyLoss())


def timm(folder: Path, work: Path) -> Epoch:
    """timm's train.py, with its defaults for loader, augmentation, optimizer and loss."""
    import torch
    from timm import create_model
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    model = create_model("resnet18", pretrained=False, num_classes=2)
    data = create_dataset("", root=str(folder), split="train", is_training=True)
    loader: Any = create_loader(
        data, (3, SIZE, SIZE), BATCH, is_training=True, use_prefetcher=False, num_workers=WORKERS, hflip=0.5,
        color_jitter=0.4, interpolation="random", mean=MEAN, std=STD, device=torch.device("cpu"),
    )  # fmt: skip
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05, momentum=0.9, weight_decay=2e-5)
    return lambda: loop(model, loader, optimizer, torch.nn.CrossEntropyLoss())


def huggingface(folder: Path, work: Path) -> Epoch:
    """``Trainer``, with the transforms of examples/pytorch/image-classification."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainerCallback, TrainingArguments

    steps = transforms.Compose([
        transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    data = ImageFolder(folder / "train", steps)
    shape = {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
    model = ResNetForImageClassification(ResNetConfig(**shape, embedding_size=64, num_labels=len(data.classes)))

    def collate(rows: list[Any]) -> dict[str, Any]:
        return {"pixel_values": torch.stack([x for x, _ in rows]), "labels": torch.tensor([y for _, y in rows])}

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    def epoch() -> float:
        clock = Clock()
        arguments = TrainingArguments(
            output_dir=str(work), per_device_train_batch_size=BATCH, num_train_epochs=1, report_to=[], use_cpu=True,
            dataloader_num_workers=WORKERS, remove_unused_columns=False, save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=data, data_collator=collate, callbacks=[clock]).train()
        return clock.seconds

    return epoch


def ultralytics(folder: Path, work: Path) -> Epoch:
    """`yolo classify train` of its yolo11-cls-resnet18.yaml with random weights, without pictures of the results."""
    from ultralytics.models.yolo.classify import ClassificationTrainer

    network = work / "yolo11-cls-resnet18.yaml"
    layers = "backbone: [[-1, 1, TorchVision, [512, resnet18, None, True, 2]]]", "head: [[-1, 1, Classify, [nc]]]"
    network.write_text("\n".join(["nc: 1000", *layers]) + "\n")

    def epoch() -> float:
        marks: list[float] = []
        given = {"model": str(network), "pretrained": False, "data": str(folder), "imgsz": SIZE, "batch": BATCH}
        given |= {
            "epochs": 1,
            "workers": WORKERS,
            "device": "cpu",
            "plots": False,
            "project": str(work),
            "exist_ok": True,
        }
        trainer = ClassificationTrainer(overrides=given)
        for event in ("on_train_epoch_start", "on_train_epoch_end"):
            trainer.add_callback(event, lambda _: marks.append(time.perf_counter()))
        trainer.train()
        return marks[1] - marks[0]

    return epoch


# Each: what trains, and the packages it needs.
PEERS: dict[str, tuple[Callable[[Path, Path], Epoch], tuple[str, ...]]] = {
    "imgclf": (imgclf, ("fastai",)),
    TUNING: (fine_tuning, ("fastai",)),
    "fastai": (fastai, ("fastai",)),
    "torchvision": (torchvision, ("torchvision",)),
    "timm": (timm, ("timm",)),
    "Hugging Face": (huggingface, ("transformers", "accelerate")),
    "ultralytics": (ultralytics, ("ultralytics",)),
}


def child(name: str, folder: Path, work: Path) -> None:
    """Train an epoch for each line read, and answer each with the seconds; all else that is printed goes elsewhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    build, needs = PEERS[name]
    missing = [package for package in needs if importlib.util.find_spec(package) is None]
    if missing:
        print(json.dumps({"missing": missing}), file=answers, flush=True)
        return
    epoch = build(folder, work)
    print(json.dumps({"ready": [benching.version(package) for package in needs]}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"seconds": epoch()}), file=answers, flush=True)
    os._exit(0)


class Peer:
    """A process that trains when asked."""

    def __init__(self, name: str, python: str, folder: Path, work: Path) -> None:
        work.mkdir(parents=True)
        self.name, self.log = name, work / "log.txt"
        command = [python, __file__, "--child", name, str(folder), str(work)]
        env = {
            **os.environ, "YOLO_CONFIG_DIR": str(work), "YOLO_OFFLINE": "true", "HF_HUB_OFFLINE": "1",
            "TORCH_HOME": str(work), "HF_HOME": str(work), "IMGCLF_CACHE": str(work), "YOLO_VERBOSE": "false",
        }  # fmt: skip
        self.process = subprocess.Popen(
            command, text=True, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w")
        )
        self.most = 0

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text().splitlines()[-12:]
            raise SystemExit("\n".join([f"{self.name} ended with {self.process.wait()}:", *said]))
        return dict(json.loads(line))

    def epoch(self, n: int) -> Figures:
        assert self.process.stdin
        started, peak = time.perf_counter(), benching.Peak(self.process.pid)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds = self.answer()["seconds"]
        whole = time.perf_counter() - started
        self.most = max(self.most, peak.stop())
        return {"images_per_second": n / seconds, "whole_seconds": whole, "memory_mb": self.most / 2**20}

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    data = benching.photos(folder / "photos", {"train": options.images, "val": VALID}, options.photos)
    peers: dict[str, Peer] = {}
    versions = {}
    try:
        for i, name in enumerate(options.only or PEERS):
            if name == TUNING and not options.weights:
                continue
            python = sys.executable if "fastai" in PEERS[name][1] else options.peer_python
            peer = Peer(name, python, data, folder / f"work {i}")
            told = peer.answer()
            if "missing" in told:
                peer.end()
                print(f"{name}: left out, install {' '.join(told['missing'])}", flush=True)
                continue
            peers[name], versions[name] = peer, told["ready"]
        n = options.images // BATCH * BATCH
        ways: dict[str, Callable[[], Figures]] = {
            name: lambda peer=peer: peer.epoch(n)  # type: ignore[misc]
            for name, peer in peers.items()
        }
        rounds = benching.turns(ways, options.repeats, "images_per_second")
    finally:
        for peer in peers.values():
            peer.end()
    benching.table(rounds, "images_per_second", "memory_mb", "whole_seconds")
    ours = [name for name in ("imgclf", TUNING) if name in peers]
    goals = [
        benching.goal(f"{own} over {name}", benching.ratios(rounds, "images_per_second", own, name), at_least=1)
        for own in ours
        for name in peers
        if name not in ours
    ]
    return {"versions": versions, "rounds": rounds, "goals": goals}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("--images", type=int, default=96, help="to train on; whole batches count")
    parser.add_argument("--photos", type=Path, help="a folder with train/ and val/; without it pictures are made")
    parser.add_argument("--weights", type=Path, help="of a ResNet-18, for the row of imgclf's fine-tuning")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--only", nargs="+", choices=PEERS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, folder, work = options.child
        child(name, Path(folder), Path(work))
        return
    if TUNING in (options.only or ()) and not options.weights:
        parser.error(f"--only '{TUNING}' needs --weights")
    if options.weights:
        os.environ[WEIGHTS] = str(options.weights.resolve())
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        benching.write(options, **measure(options, Path(folder)))


if __name__ == "__main__":
    main()
