"""Kill trainings at random moments, resume them until they are done, and compare them with a run nothing disturbed.

    python scripts/chaos.py --work FOLDER [--first 0] [--runs 100] [--seed 0] [--json FILE]
    python scripts/chaos.py --work FOLDER --faults [NAME …] [--json FILE]

Run number N of a seed is of one recipe (book, auto) and one number of worker processes (0, 2), keeps a checkpoint at
the end of each epoch or after each step, and is ended one to five times, at a moment uniform in the time an undisturbed
run takes, by SIGKILL, SIGTERM or SIGINT, to the process or to its whole group; a soft signal is sometimes repeated
within a second. Then it is begun again or resumed (by name, as "latest", as "auto"). A finding is: other weights,
record, optimizer, split or history than those of the undisturbed run; a file that cannot be read under its own name
after any kill; a file under a temporary name at the end; a process of the session that runs on for 3 seconds; an exit
code that was not to be expected; a traceback. With a finding the exit code is 1, and the folder of that run stays in
FOLDER.

--json adds to what FILE has, so that a hundred runs can be made in portions (--first, --runs), several at once too.

Importing torch and fastai takes longer than these trainings. So this process imports them once, in a single thread and
without computing anything, and each start is a fork of it that makes itself leader of a new session and then runs the
same entry of the command line with the same arguments. It has descriptors, signal handlers, worker processes and a lock
of its own, and is killed by real signals. What such a start lacks is the time of the imports, in which nothing is
written. Every tenth run consists of starts of a new interpreter (`python -m imgclf`) instead. And every fifth run draws
its pictures and trains its baselines; in the others figures are files of one pixel, as drawing them takes longer than
all the rest. Linux only.
"""

import argparse
import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"  # before torch is imported; another number adds in another order, so to other bits
ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "data")]

from scripts.chaosing import faults, killing, processes  # noqa: E402
from scripts.chaosing.killing import Attack, Place  # noqa: E402


def main() -> None:
    options = _options()
    if sys.platform != "linux":
        raise SystemExit("chaos.py looks into /proc and forks: Linux only")
    options.work.mkdir(parents=True, exist_ok=True)
    os.environ["IMGCLF_CACHE"] = str(options.work.absolute() / "cache")
    processes.warm_up()
    place = Place(options.work.absolute())
    kept, numbers = Kept(options.json), range(options.first, options.first + options.runs)
    place.prepare(killing.recipes(numbers) if options.faults is None else ["book"])
    if options.faults is not None:
        for name in options.faults or faults.FAULTS:
            kept.add_fault(faults.attack(place, name))
        sys.exit(bool(kept.found))
    killing.attacks(place, numbers, options.seed, lambda made: kept.add(options.seed, made))
    print(kept.summary(), flush=True)
    sys.exit(bool(kept.found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for images, runs and what is kept of them")
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--runs", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="*", choices=list(faults.FAULTS), help="these instead; none named: all")
    parser.add_argument("--json", type=Path, help="what came of each run; added to what is there")
    return parser.parse_args()


class Kept:
    """What came of all runs, in memory and in the file."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.found = file, 0
        self.runs: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, dict[str, Any]] = {}

    def add(self, seed: int, made: Attack) -> None:
        self.runs[f"{seed}/{made.number}"] = made.to_dict()
        self.found += bool(made.faults)
        how = f"{made.recipe}, {made.workers} workers{', new interpreters' * made.real}"
        end = "; ".join(made.faults) or "identical"
        print(f"{seed}/{made.number}: {how}: {len(made.kills)} kills, {made.seconds:.0f} s: {end}", flush=True)
        self._write()

    def add_fault(self, made: dict[str, Any]) -> None:
        self.faults[made["name"]] = made
        self.found += bool(made["faults"])
        end = "; ".join(made["faults"]) or (f"skipped: {made['skipped']}" if made["skipped"] else "as it should")
        print(f"{made['name']}: {made['looks']} looks, {made['seconds']:.0f} s: {end}", flush=True)
        self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        with self.file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another portion may be running
            if self.file.exists():
                known = json.loads(self.file.read_text(encoding="utf-8"))
                self.runs, self.faults = known["runs"] | self.runs, known["faults"] | self.faults
            text = json.dumps({"summary": self.summary(), "runs": self.runs, "faults": self.faults}, indent=1)
            self.file.write_text(text + "\n", encoding="utf-8")

    def summary(self) -> str:
        """Counts over all runs in the file."""
        every = list(self.runs.values())
        kills = [kill for run in every for kill in run["kills"]]
        by = ", ".join(f"{sum(k['signal'] == s.name for k in kills)} {s.name}" for s in killing.SIGNALS)
        real = sum(run["real"] for run in every)
        good = sum(not run["faults"] for run in every)
        groups = sum(kill["group"] for kill in kills)
        return (
            f"{good} of {len(every)} runs finished as the undisturbed run did ({real} of new interpreters), "
            f"after {len(kills)} kills: {by}; {groups} of them to the whole group"
        )


if __name__ == "__main__":
    main()
