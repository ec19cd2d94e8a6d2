"""What the benchmark scripts share: turns, ratios, goals, and the processes they start."""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
from argparse import Namespace
from operator import methodcaller
from pathlib import Path

import pytest
from PIL import Image

from scripts import bench_peers, bench_recipe, benching


def test_ways_take_turns_and_the_first_turn_does_not_count(capsys):
    order = []

    def way(name):
        def measured():
            order.append(name)
            return {"seconds": float(len(order))}

        return measured

    rounds = benching.turns({"a": way("a"), "b": way("b")}, repeats=2, key="seconds")
    assert order == ["a", "b"] * 3
    assert rounds == [{"a": {"seconds": 3}, "b": {"seconds": 4}}, {"a": {"seconds": 5}, "b": {"seconds": 6}}]
    assert benching.ratios(rounds, "seconds", "b", "a") == [4 / 3, 6 / 5]
    assert "warming up: a 1, b 2" in capsys.readouterr().err


def test_a_way_apart_has_a_process_of_its_own_that_starts_others_as_any_does():
    assert benching.Apart(importlib.import_module, "os")(methodcaller("getpid")) != os.getpid()
    started = benching.Apart(importlib.import_module, "multiprocessing")(methodcaller("get_start_method"))
    assert started == multiprocessing.get_start_method()


@pytest.mark.parametrize(
    ("found", "goal", "reached"),
    [
        ([1.0, 2.0, 9.0], {"at_least": 2}, True),
        ([1.0, 1.9, 9.0], {"at_least": 2}, False),
        ([0.1, 0.5, 0.6], {"at_most": 0.5}, True),
        ([0.1, 0.51, 0.6], {"at_most": 0.5}, False),
    ],
)
def test_a_goal_is_reached_by_the_median(found, goal, reached, capsys):
    told = benching.goal("ratio", found, **goal)
    assert (told["reached"], told["least"], told["most"]) == (reached, min(found), max(found))
    assert ("NOT REACHED" in capsys.readouterr().out) is not reached


def test_photographs_are_made_or_taken_in_turns_from_each_class(tmp_path):
    made = benching.photos(tmp_path / "made", {"train": 3, "val": 2}, None, size=(20, 15))
    assert [p.relative_to(made).as_posix() for p in sorted(made.rglob("*.jpg"))] == [
        "train/a/00000.jpg", "train/a/00002.jpg", "train/b/00001.jpg", "val/a/00000.jpg", "val/b/00001.jpg",
    ]  # fmt: skip
    assert len({p.read_bytes() for p in made.rglob("*.jpg")}) == 5
    with Image.open(made / "val/a/00000.jpg") as image:
        assert image.size == (20, 15)
    taken = benching.photos(tmp_path / "taken", {"val": 3}, made)
    assert (taken / "val/a/00002.jpg").read_bytes() == (made / "val/a/00000.jpg").read_bytes()


def test_a_process_gives_its_last_line_and_what_it_took():
    code = "import json, time; print('noise'); time.sleep(0.05); print(json.dumps({'images': 3}))"
    found = benching.run([sys.executable, "-c", code])
    assert found["images"] == 3
    assert found["seconds"] > 0.05
    assert found["memory_mb"] > 0


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"ended with 1:\s+out of luck"):
        benching.run([sys.executable, "-c", "raise SystemExit('out of luck')"])


def test_a_process_that_has_ended_meanwhile_has_no_children():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert benching._family(child.pid) == [child.pid] and benching._share(child.pid) == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_children_of_children_are_found():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert len(benching._family(child.pid)) == 2
        child.communicate(b"\n")


def test_what_is_written_says_where_and_when(tmp_path):
    benching.write(Namespace(json=tmp_path / "found.json", repeats=5), rounds=[])
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"date", "cpus", "processor", "load", "python", "torch", "fastai"} <= set(found["machine"])
    assert (found["options"]["repeats"], found["rounds"]) == (5, [])


@pytest.mark.parametrize(
    ("size", "asked", "side"), [(224, [], 460), (224, ["augment.presize=300"], 300), (64, ["augment.presize=80"], 80)]
)
def test_fastai_presizes_as_the_book_unless_told_otherwise(size, asked, side, tmp_path):
    assert bench_recipe.presize(Namespace(size=size, set=asked), tmp_path) == side


def test_a_row_that_needs_weights_is_not_left_out_silently(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_peers.py", "--only", bench_peers.TUNING])
    with pytest.raises(SystemExit) as ended:
        bench_peers.main()
    assert ended.value.code == 2
    assert "needs --weights" in capsys.readouterr().err
