"""Did unfreezing help? Read from the history."""

from collections.abc import Sequence
from typing import Any


def unfreezing(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """Compare the best epoch of the frozen phase with the best of all.

    Args:
        rows: Of the history; ``best`` marks each epoch that was better than all before it.

    Returns:
        ``{"helped", "metric", "frozen", "best"}``; None without a frozen phase and an epoch after it.
    """
    frozen = [row for row in rows if row["phase"] == "frozen" and row["best"]]
    later = [row for row in rows if row["phase"] != "frozen"]
    if not frozen or not later:
        return None
    better = [row for row in later if row["best"]]
    best = (better or frozen)[-1]
    return {"helped": bool(better), "metric": metric, "frozen": frozen[-1][metric], "best": best[metric]}


def sentence(found: dict[str, Any]) -> str:
    """The comparison for people."""
    before, after = f"{found['frozen']:.4g}", f"{found['best']:.4g}"
    if found["helped"]:
        return f"unfreezing helped: {found['metric']} {before} with the body frozen, {after} after"
    return f"unfreezing did not help: {found['metric']} {before} with the body frozen, no epoch after it was better"
