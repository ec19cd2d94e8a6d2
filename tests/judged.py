"""Finished runs that nobody trained: a random network whose last layer is solved for its images, in seconds."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn

from imgclf import runs
from imgclf.config import Override, dump, load
from imgclf.console import Terminal
from imgclf.data import balance
from imgclf.data.images import Preprocess
from imgclf.data.prepare import prepare
from imgclf.shipping import bundle, layers
from imgclf.workflow import keeping
from imgclf.workflow.train import TrainResult

SIDE = 32
COLOURS = {"blue": (60, 90, 200), "green": (70, 180, 90), "red": (200, 80, 70)}


def photos(root: Path, n: int, parts: tuple[str, ...] = ("train", "valid", "test"), spread: float = 45) -> Path:
    """``n`` small pictures of each class and part; with more spread the colours of the classes mix."""
    rng = np.random.default_rng(4)
    for part in parts:
        for name, colour in COLOURS.items():
            for i in range(n):
                pixels = (
                    np.array(colour) + rng.normal(scale=spread, size=3) + rng.normal(scale=20, size=(SIDE, SIDE, 3))
                )
                path = root / part / name / f"{name} {i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return root


def run_of(data: Path, runs_dir: Path, name: str = "mine") -> Path:
    """A run folder on ``data``, judged and written as training does at its end."""
    cfg = load(None, [Override("data.path", str(data), "test")]).config
    made = prepare(cfg, Terminal(quiet=True))
    dataset, preprocess = made.dataset, Preprocess(size=SIDE)
    run = runs.create(runs_dir, name, dump(cfg), {"data_root": str(dataset.root), "arch": "resnet18"})
    runs.write_text(run.file(runs.SPLIT), made.split_csv)
    net = solved(dataset, preprocess)
    bundle.save(
        run.path,
        net.state_dict(),
        bundle.Record(dataset.classes, preprocess, "resnet18", layers.describe(net[1]), training={"run": name}),
    )
    weights = balance.resolve(cfg, dataset.train, dataset.classes, False)
    session = SimpleNamespace(
        data=made,
        loaders=SimpleNamespace(balance=weights, preprocess=preprocess),
        arch=SimpleNamespace(name="resnet18"),
        weights=SimpleNamespace(note="solved", pretrained=False),
        cfg=cfg,
        hardware=SimpleNamespace(device="cpu"),
    )
    fitted = SimpleNamespace(rows=[], best=None, said=None, interrupted=False, images_per_second=1.0)
    found = keeping.judge(run, session, fitted, Terminal(quiet=True))
    counts = len(dataset.train), len(dataset.valid)
    result = TrainResult(run, "finished", dataset.classes, *counts, "resnet18", False, 0, {}, found, 0.1, 1.0, 1.0)
    run.finish("finished", result=result.to_dict())
    return run.path


def solved(dataset, preprocess: Preprocess) -> nn.Sequential:
    """resnet18 as it comes, and a linear layer fitted to the training images by least squares."""
    from fastai.layers import AdaptiveConcatPool2d
    from torchvision.models import resnet18

    torch.manual_seed(0)
    body = nn.Sequential(*list(resnet18(weights=None).children())[:-2]).eval()
    pool = nn.Sequential(AdaptiveConcatPool2d(), nn.Flatten())
    images = np.stack([preprocess.load(dataset.root / s.path) for s in dataset.train])
    wanted = torch.tensor([[float(c in s.labels) for c in dataset.classes] for s in dataset.train]) * 8 - 4
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std))
    with torch.inference_mode():
        features = pool(body(layers.model_input(torch.tensor(images), mean, std)))
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        ridge = features.T @ features + torch.eye(features.shape[1])
        weights = torch.linalg.solve(ridge, features.T @ wanted)
    last = nn.Linear(features.shape[1] - 1, len(dataset.classes))
    last.load_state_dict({"weight": weights[:-1].T.contiguous(), "bias": weights[-1]})
    return nn.Sequential(body, nn.Sequential(*pool, last)).eval()
