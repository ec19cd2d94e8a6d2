"""Write tests/data/golden_losses.json: the loss of every step of a small seeded run on the CPU.

    python scripts/make_golden.py

A change to the data pipeline, the plan or the loop that is meant to change nothing must reproduce the list
(tests/integration/test_golden.py); one that is meant to, regenerates it and says why in its commit.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "data")]
TARGET = ROOT / "tests" / "data" / "golden_losses.json"
LR = 0.004


def settings(folder: Path, weights: Path) -> dict[str, Any]:
    """A frozen and an unfrozen epoch, and nothing that depends on the machine."""
    return {
        "data.path": str(folder), "data.batch_size": 12, "data.workers": 0, "seed": 7,
        "augment.presize": 40, "augment.size": 32,
        "model.arch": "resnet18", "model.weights": str(weights),
        "train.recipe": "book", "train.epochs": 1, "train.freeze_epochs": 1, "train.lr": LR,
        "train.precision": "fp32", "train.device": "cpu",
    }  # fmt: skip


def losses(engine: str, folder: Path) -> list[float]:
    """The loss of each training step of both phases."""
    import shapes
    import torch
    from fastai.vision.all import set_seed
    from torchvision.models import resnet18

    from imgclf.config import load_config
    from imgclf.console import Terminal
    from imgclf.training.fit import run_phase
    from imgclf.training.seeding import SeedEpochs
    from imgclf.workflow import session

    torch.set_num_threads(1)  # more threads add in another order
    images, weights = shapes.write(folder / "images", per_class=15), folder / "weights.pth"
    set_seed(1)
    torch.save(resnet18(weights=None).state_dict(), weights)
    cfg = load_config(**{**settings(images, weights), "augment.engine": engine})
    s = session.start(cfg, Terminal(quiet=True))
    found: list[float] = []
    for phase in s.plan(LR).phases:
        s.learn.freeze_to(phase.freeze_to)
        run_phase(s.learn, phase, [SeedEpochs(cfg, phase.name)])
        found += [float(loss) for loss in s.learn.recorder.losses]
        found.append(float(s.learn.recorder.values[-1][1]))
    return found


def drawn() -> list[int]:
    """What torch draws from a seed. torch 2.6 draws otherwise than 2.14, and so shuffles and flips other images."""
    import torch

    return [int(draw) for draw in torch.empty(16).bernoulli_(0.5, generator=torch.Generator().manual_seed(0))]


def main() -> None:
    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "what": "smoothed loss of each step, then validation loss"}
    found["drawn"] = drawn()
    for engine in ("fastai", "fused"):
        with tempfile.TemporaryDirectory() as folder:
            found[engine] = losses(engine, Path(folder))
    TARGET.write_text(json.dumps(found, indent=1) + "\n")
    print(TARGET.read_text())


if __name__ == "__main__":
    main()
