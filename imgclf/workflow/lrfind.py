"""Find a learning rate without training anything."""

from pathlib import Path
from typing import Any

from imgclf.console import Terminal
from imgclf.data.location import keep_out
from imgclf.schema import Config


def find_lr(cfg: Config, *, plot: Path | None = None, terminal: Terminal | None = None) -> dict[str, Any]:
    """Suggestions of the learning-rate finder, and the curve; the JSON of `imgclf lrfind`.

    Args:
        plot: Where to write the picture; None: no picture.
    """
    from imgclf.results import plots
    from imgclf.workflow import session
    from imgclf.workflow.train import finder_data

    if plot is not None:
        keep_out(cfg, plot, "--plot")
    s = session.start(cfg, terminal or Terminal(quiet=True))
    s.announce()
    found = s.find_lr()
    if plot is not None:
        known = {k: v for k, v in found.suggestions.items() if v is not None}
        plots.lr_find_plot(found.lrs, found.losses, known, found.chosen, plot)
    return {**finder_data(found), "plot": str(plot) if plot else None}
