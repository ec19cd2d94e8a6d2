"""Look at the data before training on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclf.console import Terminal
from imgclf.data import checks, leaks, prepare, scan
from imgclf.data.location import keep_out
from imgclf.errors import DataError
from imgclf.schema import Config

if TYPE_CHECKING:
    from imgclf.data.loaders import Loaders


def check(cfg: Config, terminal: Terminal | None = None, out: Path | None = None) -> dict[str, Any]:
    """What is wrong with the data; the JSON of `imgclf data check`.

    Args:
        out: A folder for contact sheets of what was found; None: nothing is written.
    """
    terminal = terminal or Terminal(quiet=True)
    if out is not None:
        keep_out(cfg, out, "--out")
    found = scan.scan(cfg, terminal=terminal)
    looked_at, same = prepare.inspect(found, terminal)
    good = checks.without_bad(found, looked_at)
    try:
        divided = leaks.divide(cfg, good, same, leaks.rule(cfg) == "fix")
    except DataError as e:
        terminal.warn(f"cannot be split: {e.message}")
        divided = None
    report = checks.report(found, divided, looked_at, same)
    if out is not None:
        from imgclf.results import sheets

        report["sheets"] = [str(p) for p in sheets.write(report, good, out)]
    return report


def summary(cfg: Config, terminal: Terminal | None = None) -> str:
    """fastai's ``DataBlock.summary`` for this configuration, readable."""
    from imgclf.data.summary import summary as told

    return told(cfg, prepare.prepare(cfg, terminal or Terminal(quiet=True)).dataset)


def show(cfg: Config, out: Path, n: int, terminal: Terminal | None = None) -> Path:
    """A picture of the first ``n`` images of a training batch as the model sees them, normalisation undone."""
    import torch

    from imgclf.data import loaders, presize

    terminal = terminal or Terminal(quiet=True)
    keep_out(cfg, out, "--out")
    dataset = prepare.prepare(cfg, terminal).dataset
    if None in (presize.given_flip(cfg), loaders.given_crop_pct(cfg), presize.given_p_affine(cfg)):
        terminal.note(
            "shown: the usual for what is left open (augment.flip, augment.crop_pct, augment.p_affine: auto); a run "
            "with pretrained weights may choose otherwise, and `imgclf train --dry-run` tells what"
        )
    return batch_plot(cfg, loaders.build(cfg, dataset, torch.device("cpu")), out, n)


def batch_plot(cfg: Config, made: "Loaders", out: Path, n: int = 12) -> Path:
    """The same picture, from loaders that are there already; as many images are read as are shown."""
    import torch

    from imgclf.randomness import derive
    from imgclf.results.grid import grid_plot
    from imgclf.training import seeding

    n = min(n, made.batch_size)
    loader = made.dls.train.new(bs=n, num_workers=0)
    seeding.seed(cfg, "show")
    loader.place(derive(cfg, "show"))
    x, y = loader.one_batch()
    stats = made.preprocess.mean, made.preprocess.std
    mean, std = (torch.tensor(v, device=x.device).view(1, -1, 1, 1) for v in stats)
    pixels = (x[:n].as_subclass(torch.Tensor) * std + mean).clamp(0, 1).mul(255).byte().permute(0, 2, 3, 1)
    return grid_plot(
        list(pixels.expand(-1, -1, -1, 3).cpu().numpy()), _titles(y[:n], list(made.dls.vocab)), out, columns=min(n, 4)
    )


def _titles(y: Any, classes: list[str]) -> list[str]:
    """The label above each image, with several labels all of them."""
    if y.dim() == 1:
        return [classes[i] for i in y.tolist()]
    return [", ".join(name for name, on in zip(classes, row, strict=True) if on) or "-" for row in y.tolist()]


def presize_demo(cfg: Config, out: Path, n: int, terminal: Terminal | None = None) -> dict[str, Any]:
    """Presizing beside the naive order, on ``n`` training images, with the same draws for both."""
    import random

    import numpy as np

    from imgclf.data import loaders, presize_demo
    from imgclf.data.images import decode
    from imgclf.randomness import derive
    from imgclf.results.grid import grid_plot

    keep_out(cfg, out, "--out")
    dataset = prepare.prepare(cfg, terminal or Terminal(quiet=True)).dataset
    rng = random.Random(derive(cfg, "presize-demo"))
    size, presize = loaders.sides(cfg)
    pictures: list[Any] = []
    titles: list[str] = []
    shown = []
    for sample in rng.sample(dataset.train, min(n, len(dataset.train))):
        drawn = presize_demo.draw(rng)
        pair = presize_demo.both(decode(dataset.path(sample), presize), presize, size, drawn)
        middle = slice(size // 3, size // 3 + max(1, size // 4))
        pictures += [*pair, *(np.kron(p[middle, middle], np.ones((4, 4, 1), p.dtype)) for p in pair)]
        titles += ["presized", "resized first", "presized, 4x", "resized first, 4x"]
        shown.append({"path": sample.path, "draws": str(drawn)})
    return {"picture": str(grid_plot(pictures, titles, out, columns=4)), "images": shown}


def crop_loss(cfg: Config, out: Path, n: int = 12, terminal: Terminal | None = None) -> dict[str, Any]:
    """What the chosen resize rule costs each image, a rule that suits, and a picture of the ``n`` worst."""
    from imgclf.data import crop_loss, loaders
    from imgclf.results.grid import grid_plot

    keep_out(cfg, out, "--out")
    terminal = terminal or Terminal(quiet=True)
    dataset = prepare.prepare(cfg, terminal).dataset
    paths = [sample.path for sample in loaders.source(dataset)]
    with terminal.progress("measuring images", len(paths)) as step:
        record = loaders.preprocess_record(cfg)
        found = crop_loss.measure(dataset.root, paths, record.resize, step, record.crop_pct)
    grid_plot(*crop_loss.sheet(dataset.root, found, n), out, columns=4)
    return {"picture": str(out), **found.to_dict()}
