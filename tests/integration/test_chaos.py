"""Runs killed at random moments end as if nothing had happened: a little of what scripts/chaos.py does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scripts/chaos.py looks into /proc and forks")


def chaos(work: Path, *arguments: object) -> tuple[str, dict]:
    """The script's output, and what it writes down; it must have found nothing."""
    file = work / "chaos.json"
    command = [sys.executable, ROOT / "scripts" / "chaos.py", "--work", work / "work", "--json", file, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout, json.loads(file.read_text(encoding="utf-8"))


def test_runs_killed_at_random_moments_end_as_the_undisturbed_one(tmp_path):
    """With worker processes; the summary counts what was done."""
    out, known = chaos(tmp_path, "--first", 13, "--runs", 1)
    assert list(known["runs"]) == ["0/13"]
    kills = sum(len(run["kills"]) for run in known["runs"].values())
    assert kills >= 1
    assert f"1 of 1 runs finished as the undisturbed run did (0 of new interpreters), after {kills} kills" in out


@pytest.mark.slow
def test_many_runs_of_every_kind(tmp_path):
    _, known = chaos(tmp_path, "--first", 0, "--runs", 10)
    assert {(run["recipe"], run["workers"]) for run in known["runs"].values()} == {
        ("book", 0), ("book", 2), ("auto", 0), ("auto", 2),
    }  # fmt: skip
    assert [run["real"] for run in known["runs"].values()] == [False] * 9 + [True]
    _, known = chaos(tmp_path, "--first", 10, "--runs", 1)
    assert len(known["runs"]) == 11  # a portion is added to those before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["full-disk", "read-only", "removed-image", "changed-image", "two-processes", "clock", "spawn"]
)
def test_other_faults(tmp_path, name):
    _, known = chaos(tmp_path, "--faults", name)
    made = known["faults"][name]
    if made["skipped"]:
        pytest.skip(made["skipped"])
    assert made["looks"] >= 3
