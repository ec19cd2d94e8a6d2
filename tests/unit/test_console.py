"""stdout is the result, stderr is for people."""

import io
import json
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from imgclf import console
from imgclf.console import Terminal, cell, finite, table
from imgclf.errors import DataError, UserError


def test_notes_warnings_and_tables_go_to_stderr(capsys):
    terminal = Terminal()
    terminal.note("note")
    terminal.warn("careful")
    terminal.show(table("title", ["column"], [[1]]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:2] == ["note", "warning: careful"]
    assert "title" in err


def test_quiet_silences_all_but_results_and_errors(capsys):
    terminal = Terminal(quiet=True)
    terminal.note("note")
    terminal.warn("careful")
    terminal.show("table")
    terminal.result({}, "the result")
    terminal.error(DataError("what", "how"))
    out, err = capsys.readouterr()
    assert out == "the result\n"
    assert err == "error: what\n  try: how\n"


def test_json_mode_writes_one_document_and_not_the_text_for_people(capsys):
    Terminal(json_mode=True).result({"path": "Löwe"}, "for people")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"path": "Löwe"}
    assert out.count("\n") == 1
    assert "Löwe" in out
    assert err == ""


def test_an_error_in_json_mode_is_a_document_of_the_contracts_shape(capsys):
    Terminal(json_mode=True).error(DataError("what", "how"))
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"type": "DataError", "message": "what", "hint": "how", "exit_code": 3}}
    assert err == ""


def test_an_error_without_a_hint_has_none(capsys):
    Terminal(json_mode=True).error(DataError("what"))
    assert json.loads(capsys.readouterr().out)["error"]["hint"] is None
    Terminal().error(DataError("what"))
    assert capsys.readouterr().err == "error: what\n"


@pytest.mark.parametrize("text", ["a[/b].jpg", "[red]x[/red]", ":cat:", "[link=x]", "\\[x]"])
def test_file_names_are_never_taken_for_markup(capsys, text):
    terminal = Terminal()
    terminal.note(text)
    terminal.result(None, text)
    terminal.result(None, table(None, ["name"], [[text]]))
    out, err = capsys.readouterr()
    assert err == text + "\n"
    assert out.split() == [text, "name", text]


def test_a_long_line_stays_one_line_where_it_is_not_a_terminal(capsys):
    long = "x " * 300
    terminal = Terminal()
    terminal.note(long)
    terminal.result(None, long)
    terminal.result(None, table(None, ["key", "value"], [["path", "/folder" * 60]]))
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert len(out.splitlines()) == 3
    assert "/folder" * 60 in out


def test_nothing_is_live_where_it_is_not_a_terminal():
    assert not Terminal().live


def test_a_display_is_live_on_a_real_terminal_unless_quiet_or_dumb(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    real = Console(file=io.StringIO(), force_terminal=True)
    assert Terminal(err=real).live
    assert not Terminal(err=real, quiet=True).live
    monkeypatch.setenv("TERM", "dumb")
    assert not Terminal(err=real).live


def test_progress_writes_nothing_to_a_pipe(capsys):
    with Terminal().progress("checking", 3) as step:
        for _ in range(3):
            step()
    assert capsys.readouterr() == ("", "")


def test_json_can_be_written_where_the_terminal_knows_only_ascii(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    sys.stdout.reconfigure(errors="backslashreplace")  # as the command line sets it, for people
    Terminal(json_mode=True).result({"path": "Löwe 🦁"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue()) == {"path": "Löwe 🦁"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        (0.0, "0"),
        (0.5, "0.5"),
        (10.0, "10"),
        (0.98765, "0.9877"),
        (1e-5, "1e-05"),
        (123456.0, "1.235e+05"),
        (-0.25, "-0.25"),
        ("x", "x"),
    ],
)
def test_cells_read_as_people_write(value, text):
    assert cell(value) == text


def test_not_a_number_does_not_break_a_table():
    assert cell(math.nan) == "nan"
    assert cell(math.inf) == "inf"


def test_numbers_are_aligned_to_the_right_and_words_to_the_left():
    made = table(None, ["name", "n", "maybe"], [["a", 1, None], ["b", 22, 0.5]])
    assert [column.justify for column in made.columns] == ["left", "right", "right"]
    assert table(None, ["n"], []).columns[0].justify == "left"


numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
documents = st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(documents)
def test_anything_finite_made_of_a_document_is_json_without_nan(data):
    text = json.dumps(finite(data), allow_nan=False)
    assert json.loads(text) == finite(data)


def test_finite_takes_tuples_paths_and_numpy_floats(tmp_path):
    assert finite({1: (math.nan, np.float64("inf"), tmp_path)}) == {"1": [None, None, str(tmp_path)]}


def test_the_log_file_gets_notes_and_warnings_even_when_quiet(tmp_path):
    handler = console.log_to(tmp_path / "log")
    try:
        Terminal(quiet=True).note("a note")
        Terminal(quiet=True).warn("a warning")
    finally:
        console.logger.removeHandler(handler)
        handler.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO a note", "WARNING a warning"]


def test_the_log_takes_any_name_a_file_may_have(tmp_path, caplog):
    handler = console.log_to(tmp_path / "log")
    evil = "half \ud800, byte \udcff, \x1b[2J"
    try:
        Terminal(quiet=True).note(evil)
        Terminal(quiet=True).warn(evil)
        Terminal(quiet=True, json_mode=True).error(UserError(evil))
    finally:
        console.logger.removeHandler(handler)
        handler.close()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.partition("half ")[2] for line in lines] == ["\\ud800, byte \\udcff, \\x1b[2J"] * 3
    caplog.text.encode()


def test_without_a_log_file_nothing_is_printed_a_second_time(capsys):
    Terminal(quiet=True).warn("once")
    assert capsys.readouterr().err == ""
    assert any(isinstance(h, logging.NullHandler) for h in console.logger.handlers)


def test_control_characters_in_names_are_shown_and_not_sent(capsys):
    evil = "cat\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt.exe\rdog"
    terminal = Terminal()
    terminal.note(evil)
    terminal.warn(evil)
    terminal.error(UserError(evil, evil))
    terminal.show(table(evil, [evil], [[evil]]))
    terminal.result({}, table(None, ["a"], [[evil]]))
    terminal.result({}, evil)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert "\\x1b]0;pwned" in text and "\\u202e" in text
        assert not set(text) & set("\x1b\x07\x9b\u202e\r")


def test_markup_in_the_head_of_a_table_is_text(capsys):
    terminal = Terminal()
    terminal.show(table("[/] [b]", ["[/b]", "[link=x]y"], [["[/]", "[red]z[/]"]]))
    err = capsys.readouterr().err
    for text in ("[/] [b]", "[/b]", "[link=x]y", "[red]z[/]"):
        assert text in err


def test_a_name_that_begins_with_a_combining_character_is_cut():
    """rich 14.3.0 to 14.3.2 look at its first character for ever."""
    program = (
        "import io; from imgclf.console import Terminal, _console, table; narrow = _console(io.StringIO());"
        "narrow.width = 40; name = '\\u0301' + 90 * 'a';"
        "Terminal(out=narrow, err=narrow).show(table(name, [name], [[name]])); print(narrow.file.getvalue())"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True, timeout=60)
    assert "aaa" in done.stdout, done.stderr


def test_on_a_terminal_sentences_break_between_words_and_lines_to_copy_do_not():
    for terminal, sentences in ((True, "one two\nthree four"), (False, "one two three four")):
        out = Console(file=io.StringIO(), width=10, force_terminal=terminal, color_system=None)
        shown = Terminal(out=out)
        shown.result({}, Text("one two three four"))
        shown.result({}, "a path of some length")
        lines = out.file.getvalue().splitlines()
        assert "\n".join(line.rstrip() for line in lines) == f"{sentences}\na path of some length"
