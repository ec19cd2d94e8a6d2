"""Write tests/data/bundles/vN: two tiny bundles of today's schema N, with the answers that they must give for ever.

    python scripts/make_bundle_fixture.py

Once for each schema version, when it is new; what is there is never written again (see test_old_bundles.py).
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]
FOLDER = ROOT / "tests" / "data" / "bundles"
SIDE = 32


def picture(seed: int, width: int, height: int) -> Any:
    """A smooth picture with some structure."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    cells = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return cells.resize((width, height), Image.Resampling.BICUBIC)


def network(channels: int, n_classes: int, concat_pool: bool) -> Any:
    """The stem of a ResNet-18 with fastai's head; its BatchNorm has seen images."""
    import torch
    from fastai.vision.learner import create_head
    from torch import nn

    from imgclf.networks import bodies

    torch.manual_seed(channels)
    head = create_head(64, n_classes, lin_ftrs=[], concat_pool=concat_pool)
    net = nn.Sequential(bodies.body("resnet18", channels, 3), head)
    with torch.no_grad():
        for _ in range(5):
            net(torch.randn(8, channels, SIDE, SIDE) + torch.randn(8, channels, 1, 1))
    return net.eval()


def write(folder: Path, task: Any, channels: int, **facts: Any) -> None:
    """One bundle, two pictures, and the probabilities for them."""
    from imgclf.data.images import Preprocess
    from imgclf.shipping import bundle, inference, layers

    classes: tuple[str, ...] = ("zebra", "äpfel/birne", "cat 猫")
    net = network(channels, len(classes), concat_pool=task == "single")
    mean = (0.485, 0.456, 0.406)[:channels]
    rule: Any = "pad" if task == "multi" else "crop"
    shape: Any = channels
    preprocess = Preprocess(SIDE, rule, mean=mean, std=(0.25,) * channels, channels=shape)
    record = bundle.Record(
        classes, preprocess, "resnet18", layers.describe(net[1]), task=task, cut=3,
        metrics={"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 4}}, training={"run": "fixture"}, **facts,
    )  # fmt: skip
    bundle.save(folder, net.state_dict(), record)
    for seed, size in enumerate(((40, 33), (21, 50))):
        picture(seed, *size).save(folder / f"{seed}.png")
    model = inference.load(folder)
    rows = [answer.to_row(model.classes) for answer in model.predict(sorted(folder.glob("*.png")))]
    answers = [{**row, "path": Path(row["path"]).name} for row in rows]
    (folder / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    from imgclf.shipping.record import SCHEMA

    target = FOLDER / f"v{SCHEMA}"
    if target.exists():
        sys.exit(f"{target} is there: a fixture is written once, and a new one comes with a new schema")
    write(target / "single", "single", 3, temperature=0.15)
    write(target / "multi", "multi", 1, temperature=0.1, thresholds=(0.3, 0.5, 0.625))


if __name__ == "__main__":
    main()
