"""Damaged and hostile files end in an answer or a user's error: some cases of each target of scripts/fuzz.py."""

import contextlib
import importlib.util
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT

spec = importlib.util.spec_from_file_location("fuzz", ROOT / "scripts" / "fuzz.py")
fuzz = importlib.util.module_from_spec(spec)
sys.modules["fuzz"] = fuzz  # its dataclass looks itself up
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Before the clock runs."""
    import pandas
    import torch

    assert pandas and torch


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_no_file_gets_further_than_a_users_error(target):
    if target == "onnx":
        pytest.importorskip("onnxscript")
        fuzz.files._onnx()
    fuzz.warm_up(target)

    @settings(max_examples=25, deadline=None)
    @given(number=st.integers(0, 1 << 40))
    def some_cases(number):
        assert fuzz.run_case(target, 0, number, most_seconds=60) in ("answer", "refused")

    some_cases()


def test_a_finding_is_told_and_kept(tmp_path, monkeypatch):
    def broken(case):
        case.write("x", b"evil")
        raise KeyError("no such thing")

    monkeypatch.setitem(fuzz.TARGETS, "record", broken)
    row = fuzz.run_target("record", 5, 3, 60, tmp_path)
    assert (row["cases"], row["findings"], row["kinds"]) == (3, 3, ["KeyError: 'no such thing'"])
    assert (tmp_path / "record-5-2" / "x").read_bytes() == b"evil"
    assert "no such thing" in (tmp_path / "record-5-2" / "traceback.txt").read_text()


def test_cases_are_repeatable_and_most_are_hostile(tmp_path):
    texts = []
    for _ in range(2):
        case = fuzz.Case(fuzz.random.Random("x"), tmp_path)
        texts.append([case.damaged(b"a,b\n1,2\n" * 5) for _ in range(20)])
    assert texts[0] == texts[1] and len(set(texts[0])) > 15


def test_writing_outside_and_starting_programs_are_findings_even_if_the_code_swallows_them(tmp_path, monkeypatch):
    outside = ROOT / "written-by-the-fuzzer"

    def escapes(case):
        case.write("inside", b"")
        with contextlib.suppress(OSError):
            (outside / "x").write_text("x")  # there is no such folder: the attempt counts

    def starts(case):
        subprocess.run([sys.executable, "-c", ""], check=True)

    def late(case):
        with contextlib.suppress(RuntimeError):
            time.sleep(5)

    for way, said in ((escapes, f"wrote {outside}"), (starts, "subprocess.Popen"), (late, "took longer than 0.1 s")):
        monkeypatch.setitem(fuzz.TARGETS, "record", way)
        assert said in fuzz.run_case("record", 0, 0, most_seconds=0.1 if way is late else 60)


def test_what_reached_new_lines_is_where_later_cases_begin(tmp_path, monkeypatch):
    made, base = [], b"0123456789" * 5

    def target(case):
        made.append(case.damaged(base))

    monkeypatch.setitem(fuzz.TARGETS, "record", target)
    guide = fuzz.Guide(fuzz.Lines(ROOT / "tests"))
    for number in (0, fuzz.TRACED):  # the second runs the same lines again
        fuzz.run_case("record", 0, number, guide=guide)
    assert list(guide.pool.values()) == [made[:1]]
    monkeypatch.setattr(fuzz.Case, "_accident", lambda self, data: data)
    case = fuzz.Case(fuzz.random.Random(1), tmp_path, guide.pool)
    assert {case.damaged(base) for _ in range(50)} == {base, made[0]}
