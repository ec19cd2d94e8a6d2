"""Did unfreezing help? Read from the history."""

import math
from collections.abc import Sequence
from typing import Any

FROZEN = {"frozen": "with the body frozen", "probe": "with the probe, the body frozen"}  # phases, in words


def unfreezing(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """Compare the best epoch of the frozen phase, or the probe, with the best of all.

    Args:
        rows: Of the history; ``best`` marks each epoch that was better than all before it.

    Returns:
        ``{"helped", "metric", "phase", "frozen", "best"}``; None without such a phase and an epoch after it.
    """
    frozen = [row for row in rows if row["phase"] in FROZEN and row["best"]]
    later = [row for row in rows if row["phase"] not in FROZEN]
    if not frozen or not later:
        return None
    better = [row for row in later if row["best"]]
    best = (better or frozen)[-1]
    phase = frozen[-1]["phase"]
    return {
        "helped": bool(better),
        "metric": metric,
        "phase": phase,
        "frozen": frozen[-1][metric],
        "best": best[metric],
    }


def sentence(found: dict[str, Any]) -> str:
    """The comparison for people."""
    before, after = f"{found['frozen']:.4g} {FROZEN[found['phase']]}", f"{found['best']:.4g}"
    same = math.isclose(found["best"], found["frozen"], rel_tol=1e-6)  # but for rounding, as the best epoch was chosen
    if found["helped"] and same:
        return f"unfreezing lowered the loss alone: {found['metric']} {before}, the same after"
    if found["helped"]:
        return f"unfreezing helped: {found['metric']} {before}, {after} after"
    return f"unfreezing did not help: {found['metric']} {before}, no epoch after it was better"
