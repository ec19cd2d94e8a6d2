"""A full or unwritable disk, told as that; anything else stays what it is."""

import errno
import logging
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from imgclf import disk
from imgclf.console import log_to, logger
from imgclf.errors import DataError, RunError


def failing(folder, error):
    with disk.explained(folder, "imgclf train --resume runs/mine"):
        raise error


@pytest.mark.parametrize("number", sorted(disk.FULL))
def test_a_full_disk_names_the_file_and_the_way_on(tmp_path, number):
    with pytest.raises(RunError, match="the disk is full") as caught:
        failing(tmp_path, OSError(number, os.strerror(number), str(tmp_path / "model.json")))
    assert str(tmp_path / "model.json") in caught.value.message
    assert caught.value.hint == "make room, then go on: imgclf train --resume runs/mine"
    assert caught.value.exit_code == 4


def test_what_another_library_says_of_a_full_disk_counts_and_what_it_was_raised_from(tmp_path):
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(RunError, match="the disk is full"):
        failing(tmp_path, SafetensorError(words))
    outer = RuntimeError("while saving")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(RunError, match=f"the disk is full: {tmp_path}"):
        failing(tmp_path, outer)


def test_a_read_only_disk_is_told(tmp_path):
    with pytest.raises(RunError, match=r"cannot be written to: .*Read-only file system") as caught:
        failing(tmp_path, OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".lock")))
    assert caught.value.hint.startswith("make it writable")


def test_missing_rights_are_the_disks_fault_in_the_run_folder_alone(tmp_path):
    run = tmp_path / "runs" / "mine"
    with pytest.raises(RunError, match="cannot be written to"):
        failing(run, PermissionError(errno.EACCES, "Permission denied", str(run / "plots" / "batch.png")))
    with pytest.raises(PermissionError):
        failing(run, PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "images" / "cat.jpg")))


@pytest.mark.parametrize("error", [ValueError("x"), DataError("no images"), KeyboardInterrupt()])
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        failing(tmp_path, error)
    assert caught.value is error


def test_any_command_tells_a_full_disk(monkeypatch, capsys):
    from imgclf.cli import app
    from imgclf.workflow import listing

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "x.html")

    monkeypatch.setattr(listing, "details", full)
    monkeypatch.setattr("imgclf.runs.find", lambda *_: None)
    assert app.run(["runs", "show", "mine"]) == 4
    assert "the disk is full: x.html: No space left on device" in " ".join(capsys.readouterr().err.split())


def test_ctrl_c_that_compiled_code_wraps_is_still_ctrl_c(monkeypatch, capsys):
    from imgclf.cli import app

    def wrapped(*_):
        raise ValueError("Error building `literal` serializer:\n  KeyboardInterrupt: ")

    monkeypatch.setattr("imgclf.runs.find", wrapped)
    assert app.run(["runs", "show", "mine"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_log_that_has_no_room_is_silent(capsys, tmp_path):
    (tmp_path / "train.log").symlink_to("/dev/full")
    handler = log_to(tmp_path / "train.log")
    try:
        logger.info("a line")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert capsys.readouterr().err == ""
    assert logging.raiseExceptions  # which would have shown a traceback
