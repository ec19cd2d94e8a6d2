"""Damaged and hostile files end in an answer or a user's error: some cases of each target of scripts/fuzz.py."""

import importlib.util
import sys

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
        fuzz._onnx()

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
