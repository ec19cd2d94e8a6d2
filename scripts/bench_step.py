"""What imgclf computes in its own way within a step, on a processor, beside the usual way; fp32, one batch in memory.

    python scripts/bench_step.py [--arch resnet18] [--size 224] [--batch-size 16] [--repeats 15] [--json FILE]

`answers`, forward passes, and `steps`, forward and backward passes with BatchNorm's statistics fixed as in the default
recipe: BatchNorm folded into the convolutions, beside layer by layer. `adam`, steps of the optimizer over all weights:
by torch's fused kernel, beside fastai's. Of each the largest difference is shown, as a share of the largest value.
"""

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching
from scripts.benching import Figures

PASSES = 3  # a turn
Work = Callable[[], Any]


def answers(body: Any, x: Any) -> Any:
    import torch

    with torch.no_grad():
        return body(x)


def steps(body: Any, x: Any) -> Any:
    """Returns the gradient of the first weights, which all others' lead to."""
    body.zero_grad(set_to_none=True)
    body(x).square().mean().backward()
    return next(body.parameters()).grad


def adam(optimizer: Any, body: Any) -> Any:
    """Returns the first weights."""
    optimizer.step()
    return next(body.parameters()).detach()


def folding(apart: Any, x: Any) -> dict[str, tuple[Work, Work]]:
    from imgclf.networks import folding

    folded = copy.deepcopy(apart)
    folding.fold_while_fixed(folded)
    return {part.__name__: (partial(part, apart, x), partial(part, folded, x)) for part in (answers, steps)}


def optimizers(body: Any, x: Any) -> dict[str, tuple[Work, Work]]:
    from fastai.optimizer import Adam

    from imgclf.training.optimizers import FusedAdam

    steps(body, x)
    twin = copy.deepcopy(body)
    for p, q in zip(body.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad.clone()
    usual, own = Adam(list(body.parameters()), lr=1e-3), FusedAdam(list(twin.parameters()), lr=1e-3)
    return {"adam": (partial(adam, usual, body), partial(adam, own, twin))}


def timed(work: Work, n: int) -> Figures:
    found: Figures = {}
    with benching.timed(found, PASSES * n):
        for _ in range(PASSES):
            work()
    return {**found, "ms": 1000 * found["seconds"] / PASSES}


def main() -> None:
    import torch

    from imgclf.networks import bodies

    parser = benching.parser(__doc__, repeats=15)
    parser.add_argument("--arch", default="resnet18", choices=bodies.BUILDERS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    torch.manual_seed(0)
    body = bodies.body(options.arch).eval().to(memory_format=torch.channels_last)
    images = torch.randn(options.batch_size, 3, options.size, options.size)
    x = images.to(memory_format=torch.channels_last)
    found = {}
    for part, (usual, own) in {**folding(body, x), **optimizers(copy.deepcopy(body), x)}.items():
        expected, made = usual(), own()
        print(f"{part}: largest difference {float((made - expected).abs().max() / expected.abs().max()):.1g}")
        ways = {"usual": partial(timed, usual, options.batch_size), "imgclf": partial(timed, own, options.batch_size)}
        rounds = benching.turns(ways, options.repeats, "ms")
        benching.table(rounds, "ms", "processor_ms")
        ratios = benching.ratios(rounds, "ms", "usual", "imgclf")
        found[part] = {"rounds": rounds, "usual over imgclf": ratios}
        print(f"usual over imgclf: {benching.spread(ratios)}", flush=True)
    benching.write(options, **found)


if __name__ == "__main__":
    main()
