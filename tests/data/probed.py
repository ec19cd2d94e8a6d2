"""Frozen features whose classes are known: clusters for one label an image, thresholds for several."""

import numpy as np

from imgclf.results.baselines import Frozen

NAMES = ("a", "b", "c")


def frozen(n: int = 60, m: int = 45, apart: float = 2.0, seed: int = 0, **changes) -> Frozen:
    """Features (N, 8) around a centre for each of three classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 8)) * apart
    y, truth = np.arange(n) % 3, np.arange(m) % 3
    x, judged = (centres[t] + rng.normal(size=(len(t), 8)) for t in (y, truth))
    given = {"train": x, "targets": y, "judged": judged, "truth": truth, "classes": NAMES, "body": "net", "of": n}
    return Frozen(**{**given, **changes})


def several(n: int = 80, m: int = 50) -> Frozen:
    rng = np.random.default_rng(1)
    x, judged = rng.normal(size=(n, 6)), rng.normal(size=(m, 6))
    y, truth = ((f[:, :3] > [0, 0.5, 5]).astype(int) for f in (x, judged))  # the third label never occurs
    return Frozen(x, y, judged, truth, NAMES, "net", n)
