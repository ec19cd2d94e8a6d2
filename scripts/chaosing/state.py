"""What must be true of a run folder: after a kill at any moment, and at the end."""

import csv
import json
import math
from pathlib import Path
from typing import Any

MOST_SECONDS_ORPHANED = 3.0
FIGURES = 1e-4  # how much a figure of the judging may differ: imgclf.workflow.keeping asks that of the logits


def faults_between(runs_dir: Path) -> list[str]:
    """What is wrong with the folder of runs after a kill; files under temporary names are no fault yet."""
    if not runs_dir.is_dir():
        return []
    found = []
    for folder in (p for p in runs_dir.iterdir() if not p.name.startswith(".")):
        if not (folder / "manifest.json").is_file():
            found.append(f"half a run folder: {sorted(p.name for p in folder.iterdir())}")
        found += [fault for path in sorted(folder.rglob("*")) if (fault := _unreadable(path))]
    return found


def faults_at_the_end(run: Path, whole: Path) -> list[str]:
    """What is wrong with a finished run, compared with the one nothing disturbed."""
    found = faults_between(run.parent)
    found += [f"left behind: {p.relative_to(run.parent)}" for p in run.parent.rglob(".*") if p.name != ".lock"]
    status = _manifest(run).get("status")
    if status != "finished":
        found.append(f"status {status}")
    missing = {_name(p, whole) for p in whole.rglob("*")} - {_name(p, run) for p in run.rglob("*")}
    missing.discard("plots/learning_curve.png")  # of the baselines
    if missing:
        found.append(f"missing: {sorted(missing)}")
    found += [f"{name}: other rows" for name in ("history.csv", "split.csv") if rows(run / name) != rows(whole / name)]
    found += [f"model.safetensors: {fault}" for fault in _other(run / "model.safetensors", whole / "model.safetensors")]
    if not _same_tensors(run / "last.ckpt", whole / "last.ckpt"):
        found.append("last.ckpt: other weights, or another state of the optimizer")
    return found


def finished(run: Path) -> bool:
    """Whether the run's manifest says so."""
    return (run / "manifest.json").is_file() and _manifest(run).get("status") == "finished"


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without what differs from time to time."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def _name(path: Path, run: Path) -> str:
    return str(path.relative_to(run))


def _manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return found


def _other(path: Path, other: Path) -> list[str]:
    """In what two files of weights differ: every byte of the tensors counts.

    Figures of the judging may differ in their last digits. A run that was stopped between training and judging asks the
    bundle; an undisturbed one takes what validation has computed, where the bundle answers as that to a ten-thousandth.
    """
    (facts, tensors), (others, those) = _content(path), _content(other)
    found = ["other weights"] if tensors != those else []
    for facts_of in (facts, others):
        facts_of["__metadata__"].pop("sha256")  # of the facts too
        facts_of["__metadata__"]["imgclf"] = json.loads(facts_of["__metadata__"]["imgclf"])
    return found + ([] if close(facts, others) else ["another description"])


def _content(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a weights file, whose keys safetensors writes in any order, and every byte after it."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def close(a: Any, b: Any) -> bool:
    """Whether two values of JSON are the same, but for the last digits of floats."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=FIGURES, abs_tol=FIGURES)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return bool(a == b)


def _unreadable(path: Path) -> str:
    """What is wrong with a file under its own name: JSON, YAML, tables, tensors, pictures and pages must be whole."""
    if path.name.startswith(".") or not path.is_file():
        return ""
    try:
        _READERS.get(path.suffix, Path.read_bytes)(path)
    except Exception as e:
        return f"{path.name} cannot be read: {type(e).__name__}: {e}"
    return ""


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(path)
    return found


def _same_tensors(path: Path, other: Path) -> bool:
    import torch

    a, b = _tensors(path), _tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it ends in the middle")


def _yaml(path: Path) -> None:
    from imgclf.config import load

    load(str(path))


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


_READERS: dict[str, Any] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".yaml": _yaml,
    ".csv": rows,
    ".safetensors": _tensors,
    ".ckpt": _tensors,
    ".html": _page,
    ".png": _picture,
}
