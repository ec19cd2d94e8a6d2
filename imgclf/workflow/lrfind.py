"""Find a learning rate without training anything."""

from pathlib import Path
from typing import Any

from imgclf.console import Terminal
from imgclf.data.location import keep_out
from imgclf.schema import Config


def find_lr(
    cfg: Config,
    *,
    plot: Path | None = None,
    terminal: Terminal | None = None,
    unfrozen: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Suggestions of the learning-rate finder, and the curve; the JSON of `imgclf lrfind`.

    Args:
        plot: Where to write the picture; None: no picture.
        unfrozen: Train the frozen phase first, then look for the rate with the body training.
        trust: Whether the code that a custom head names may run.
    """
    from imgclf.training import looking, network, recipe_lr
    from imgclf.workflow import rates, session

    if plot is not None:
        keep_out(cfg, plot, "--plot")
    network.check_trust(cfg, trust)
    s = session.start(cfg, terminal or Terminal(quiet=True))
    s.announce()
    found = rates.after_first(s) if unfrozen or s.probe else s.find_lr()
    if s.recipe_lr and s.given_lr is None:
        lr, why = s.recipe_lr
        unseen = s.probe and looking.has_stages(s.arch)  # a run looks at the images first, the finder does not
        found_out = "if it finds that the body hardly knows such images, or was made for others"
        other = f"; {recipe_lr.HARDLY:g} or {recipe_lr.UNFAMILIAR:g} {found_out}" if unseen else ""
        s.terminal.note(f"left to itself, imgclf train takes {lr:g}, {why}{other}")
    if plot is not None:
        rates.draw(found, plot)
    return {**rates.finder_data(found), "plot": str(plot) if plot else None}
