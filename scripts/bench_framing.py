"""How much of an image the model should see: the probe with several shares of the centre square (`augment.crop_pct`).

    python scripts/bench_framing.py DATA… --weights WEIGHTS [--arch resnet18] [--size 224] [--shares 1 0.875 0.75]
        [--seeds 1 2 3] [--json FILE]

DATA as in bench_recipe.py. For each share: the loss in cross-validation on the training images, error and loss on those
of validation. A star is at what `auto` takes, which looks at the first number alone, on at most 256 images, for two of
the shares (imgclf/training/framing.py). For several labels an image the error is 1 - mAP.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from imgclf.console import Terminal
from imgclf.data.loaders import unaugmented
from imgclf.training import features
from imgclf.training.precision import autocast
from imgclf.workflow import session
from scripts import benching
from scripts.bench_features import fitted, judged
from scripts.bench_recipe import configured, lay_out, source

KEY = "augment.crop_pct"


def measure(data: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each share."""
    with tempfile.TemporaryDirectory() as temporary:
        path, more = source(lay_out(data, seed, options.set, Path(temporary)))
        asked = {"data.path": str(path), "model.arch": options.arch, "augment.size": options.size, **more,
                 "model.weights": str(options.weights), "seed": seed}  # fmt: skip
        chosen = session.start(configured(options.set, **asked), Terminal(quiet=True), to_train=True)
        auto = chosen.loaders.preprocess.crop_pct
        rows = []
        for share in options.shares:
            s = session.start(configured(options.set, **asked, **{KEY: share}), Terminal(quiet=True))
            parts = features.before_last(s.learn.model)
            assert parts is not None
            images = (unaugmented(s.learn.dls), s.learn.dls.valid)
            (x, y), (seen, truth) = (features.extract(parts[0], dl, autocast(s.hardware)) for dl in images)
            head = fitted(x, y, False)
            found = judged(seen @ head.weight.T + head.bias, truth)
            rows.append({"data": data, "seed": seed, "share": share, "held_out": head.loss, "auto": auto, **found})
    return rows


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.875, 0.75])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    found = []
    for data in options.data:
        for seed in options.seeds:
            for row in measure(data, seed, options):
                found.append(row)
                star = "*" if row["share"] == row["auto"] else " "
                print(
                    f"{data:16} seed {seed}  {row['share']:5g}{star}  held out {row['held_out']:.3f}  "
                    f"error {row['error']:.3f}  loss {row['loss']:.3f}",
                    flush=True,
                )
    benching.write(options, found=found)


if __name__ == "__main__":
    main()
