"""What imgclf computes in its own way within a step, on a processor, beside the usual way; fp32, one batch in memory.

    python scripts/bench_step.py [--arch resnet18] [--size 224] [--batch-size 16] [--repeats 15] [--json FILE]

`answers`, forward passes, and `steps`, forward and backward passes with BatchNorm's statistics fixed as in the default
recipe: BatchNorm folded into the convolutions, beside layer by layer. `adam`, steps of the optimizer over all weights:
by torch's fused kernel, beside fastai's. Of each the largest difference is shown, as a share of the largest value.

`memory`, forward and backward passes as in the book's recipe, in processes of their own: memory that is freed kept for
the next pass, beside the system's way.
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


def network(arch: str, size: int, n: int, keep: bool = False) -> tuple[Any, Any]:
    """A body and a batch for it; ``keep``: this process keeps the memory it frees."""
    import torch

    from imgclf import memory
    from imgclf.networks import bodies

    if keep:
        memory.keep_freed()
    torch.manual_seed(0)
    body = bodies.body(arch).eval().to(memory_format=torch.channels_last)
    return body, torch.randn(n, 3, size, size).to(memory_format=torch.channels_last)


def learning(made: tuple[Any, Any]) -> Figures:
    """BatchNorm with the statistics of the batch."""
    body, x = made
    return timed(partial(steps, body.train(), x), len(x))


def timed(work: Work, n: int) -> Figures:
    found: Figures = {}
    with benching.timed(found, PASSES * n):
        for _ in range(PASSES):
            work()
    return {**found, "ms": 1000 * found["seconds"] / PASSES}


def main() -> None:
    from imgclf.networks import bodies

    parser = benching.parser(__doc__, repeats=15)
    parser.add_argument("--arch", default="resnet18", choices=bodies.BUILDERS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    known = options.arch, options.size, options.batch_size
    body, x = network(*known)
    found = {}

    def compare(part: str, ways: dict[str, Callable[[], Figures]]) -> None:
        rounds = benching.turns(ways, options.repeats, "ms")
        benching.table(rounds, "ms", "processor_ms")
        ratios = benching.ratios(rounds, "ms", "usual", "imgclf")
        found[part] = {"rounds": rounds, "usual over imgclf": ratios}
        print(f"usual over imgclf: {benching.spread(ratios)}", flush=True)

    for part, (usual, own) in {**folding(body, x), **optimizers(copy.deepcopy(body), x)}.items():
        expected, made = usual(), own()
        print(f"{part}: largest difference {float((made - expected).abs().max() / expected.abs().max()):.1g}")
        compare(part, {"usual": partial(timed, usual, len(x)), "imgclf": partial(timed, own, len(x))})
    print("memory")
    apart = {name: benching.Apart(network, *known, keep) for name, keep in (("usual", False), ("imgclf", True))}
    compare("memory", {name: partial(process, learning) for name, process in apart.items()})
    benching.write(options, **found)


if __name__ == "__main__":
    main()
