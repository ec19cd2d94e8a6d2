"""Feed damaged and hostile input to everything that reads some, and see that it ends in an answer or a user's error.

    python scripts/fuzz.py [--cases 100000] [--target NAME …] [--seed 0] [--seconds 600] [--json FILE] [--keep FOLDER]
        [--blind]

A finding is: any exception that is not a mistake told to the user; a case that takes longer than 10 seconds, adds more
than 2 GB, writes outside its folder, starts a program or asks the network; a page, card or terminal with something live
in it. Findings are kept in FOLDER with the traceback; the exit code is then 1.

What reached lines of the package that no case had reached becomes a start for later cases, so that a case depends on
those before it, and all of them on the seed. --blind: each is a function of target, seed and number alone, and quicker.
A new target is a function that takes a `Case`, named in TARGETS of a module in scripts/fuzzing/. The tests run some
cases of each (tests/unit/test_fuzz.py).
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from scripts.fuzzing import files, folders, served  # noqa: E402
from scripts.fuzzing.cases import Case  # noqa: E402
from scripts.fuzzing.watch import Lines, Watch, limit_memory  # noqa: E402

MOST_SECONDS = 10.0
MOST_KEPT = 500  # starts of each kind
TRACED = 8  # of so many cases one is traced, as that takes several times longer
TARGETS: dict[str, Callable[[Case], None]] = {
    target.__name__: target for target in (*files.TARGETS, *folders.TARGETS, *served.TARGETS)
}
WATCH = Watch()
PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None  # in memory: a disk takes ten times as long as many a case


@dataclass
class Guide:
    """What led to new lines, for one target."""

    lines: Lines = field(default_factory=lambda: Lines(ROOT / "imgclf"))
    pool: dict[str, list[Any]] = field(default_factory=dict)

    def learn(self, case: Case) -> None:
        if self.lines.new:
            for key, value in case.made:
                kept = self.pool.setdefault(key, [])
                kept.append(value)
                del kept[:-MOST_KEPT]


def warm_up(name: str) -> None:
    """A case that nobody watches: imports take time and memory, and write caches, that no case asked for."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=PLACE) as folder, contextlib.suppress(Exception):
        TARGETS[name](Case(random.Random(name), Path(folder)))


def run_case(
    name: str,
    seed: int,
    number: int,
    keep: Path | None = None,
    most_seconds: float = MOST_SECONDS,
    guide: Guide | None = None,
) -> str:
    """``answer``, ``refused``, or the traceback of a finding."""
    from imgclf.errors import UserError

    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=PLACE) as folder:
        case = Case(random.Random(f"{name}/{seed}/{number}"), Path(folder), guide.pool if guide else {})
        traced = guide if number % TRACED == 0 else None
        counted = traced.lines.counted() if traced else contextlib.nullcontext()
        try:
            with warnings.catch_warnings(), WATCH.over(case.folder, most_seconds), counted:
                warnings.simplefilter("ignore")
                TARGETS[name](case)
            return "answer"
        except UserError as e:
            str(e).encode("utf-8", "surrogatepass")
            return "refused"
        except (Exception, SystemExit):
            if keep is not None:
                _keep(case.folder, keep / f"{name}-{seed}-{number}")
            return traceback.format_exc()
        finally:
            if traced:
                traced.learn(case)


def _keep(folder: Path, place: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            kept = place / path.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
    place.mkdir(parents=True, exist_ok=True)
    (place / "traceback.txt").write_text(traceback.format_exc())


def run_target(
    name: str, seed: int, cases: int, seconds: float, keep: Path, guide: Guide | None = None
) -> dict[str, Any]:
    """So many cases of one target, or as many as the time allows."""
    counts = {"cases": 0, "answer": 0, "refused": 0, "findings": 0}
    start, seen = time.perf_counter(), set()
    for number in range(cases):
        if time.perf_counter() - start > seconds:
            break
        found = run_case(name, seed, number, keep, guide=guide)
        kind = found if found in ("answer", "refused") else "findings"
        counts[kind] += 1
        counts["cases"] += 1
        if kind == "findings" and (last := found.strip().splitlines()[-1][:200]) not in seen:
            seen.add(last)
            print(f"{name} {seed}/{number}: {last}", file=sys.stderr)
    took = time.perf_counter() - start
    lines = len(guide.lines.known) if guide else None
    rate = round(counts["cases"] / max(took, 1e-9), 1)
    return {
        "target": name,
        **counts,
        "seconds": round(took, 1),
        "per_second": rate,
        "lines": lines,
        "kinds": sorted(seen),
    }


COLUMNS = ("cases", "answer", "refused", "findings", "seconds", "per_second", "lines")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=1000, help="of each target")
    parser.add_argument("--target", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="at most, for each target")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--blind", action="store_true", help="do not look at which lines run")
    asked = parser.parse_args()
    for name in asked.target:
        warm_up(name)
    if sys.platform == "linux":
        limit_memory()
    rows = []
    print(f"{'target':14} " + " ".join(f"{name:>10}" for name in COLUMNS))
    for name in asked.target:
        row = run_target(name, asked.seed, asked.cases, asked.seconds, asked.keep, None if asked.blind else Guide())
        rows.append(row)
        print(f"{name:14} " + " ".join(f"{row[k]!s:>10}" for k in COLUMNS), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"seed": asked.seed, "targets": rows}, indent=1) + "\n")
    sys.exit(any(row["findings"] for row in rows))


if __name__ == "__main__":
    main()
