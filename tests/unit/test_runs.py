"""The run folder: whole files only, no name twice, and the right run is found."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from imgclf import runs
from imgclf.errors import ModelError, UserError


@pytest.fixture
def make_run(tmp_path):
    """A run under ``runs/`` with a status."""

    def make(name: str, status: str = "finished", **values: object) -> runs.Run:
        run = runs.create(tmp_path / "runs", name, "seed: 1\n", {"command": "test"})
        run.update_manifest(status=status, **values)
        return run

    return make


def test_a_new_run_holds_configuration_and_manifest(tmp_path):
    run = runs.create(tmp_path / "deep" / "runs", "first", "seed: 1\n", {"command": "imgclf train"})
    assert run.file(runs.CONFIG).read_text() == "seed: 1\n"
    manifest = run.manifest()
    assert (manifest["name"], manifest["status"], manifest["command"]) == ("first", "running", "imgclf train")
    assert sorted(p.name for p in run.path.iterdir()) == [runs.CONFIG, runs.MANIFEST]


def test_a_taken_name_is_refused_with_a_free_one_and_nothing_is_touched(tmp_path, make_run):
    make_run("mine")
    with pytest.raises(ModelError) as caught:
        runs.create(tmp_path / "runs", "mine", "seed: 2\n", {})
    assert caught.value.exit_code == 4
    assert "exists already" in caught.value.message
    assert "--name mine-2" in caught.value.hint
    assert (tmp_path / "runs/mine/config.yaml").read_text() == "seed: 1\n"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "latest", "auto", "-dash", ".hidden", "a b", "a\n", "a\x00"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="cannot be a run's name"):
        runs.create(tmp_path, name, "", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "20261121-2210-resnet18", "v1.2+x_y", "Läufe", "走"])
def test_usual_names_are_accepted(tmp_path, name):
    assert runs.create(tmp_path, name, "", {}).name == name


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_runs_folder_that_cannot_be_made_is_said(tmp_path, below):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ModelError, match="cannot make the run folder") as caught:
        runs.create(file / below, "x", "", {})
    assert "--runs-dir" in caught.value.hint


def test_free_name_counts_up(tmp_path):
    assert runs.free_name(tmp_path, "x") == "x"
    (tmp_path / "x").mkdir()
    (tmp_path / "x-2").touch()
    assert runs.free_name(tmp_path, "x") == "x-3"


def test_new_names_hold_the_architecture_and_are_usable(tmp_path):
    name = runs.new_name(tmp_path, "resnet18")
    assert name.endswith("-resnet18")
    runs.create(tmp_path, name, "", {})
    assert runs.new_name(tmp_path, "resnet18") != name


# Atomic writing


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = runs.write_text(tmp_path / "a.txt", "old")

    def half(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.atomic_write(path, half)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    path, seen = tmp_path / "a.txt", []
    runs.atomic_write(path, lambda p: (p.write_text("x"), seen.append((path.exists(), p.parent, p.suffix))))
    assert seen == [(False, tmp_path, ".txt")]
    assert path.read_text() == "x"


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path):
    other = tmp_path / "other"
    other.touch()
    assert runs.write_text(tmp_path / "a.txt", "x").stat().st_mode == other.stat().st_mode


def test_json_is_readable_utf_8(tmp_path):
    path = runs.write_json(tmp_path / "deep" / "a.json", {"name": "Löwe"})
    assert "Löwe" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Löwe"}


# Status


def test_finish_records_status_time_and_values(make_run):
    run = make_run("a", "running")
    run.finish("finished", result={"n": 1})
    manifest = run.manifest()
    assert (manifest["status"], manifest["result"]) == ("finished", {"n": 1})
    assert manifest["finished"] >= manifest["started"]


def test_an_exception_marks_the_run_failed_and_passes_on(make_run):
    run = make_run("a", "running")
    with pytest.raises(RuntimeError, match="boom"), runs.recorded(run):
        raise RuntimeError("boom")
    assert run.manifest()["status"] == "failed"
    assert run.manifest()["error"] == "RuntimeError: boom"


def test_an_exception_after_the_end_does_not_change_the_status(make_run):
    run = make_run("a", "running")
    with pytest.raises(RuntimeError), runs.recorded(run):
        run.finish("interrupted")
        raise RuntimeError("later")
    assert run.manifest()["status"] == "interrupted"


def test_a_run_of_another_process_with_the_same_number_is_dead(make_run):
    """In a container every command may be process 1."""
    run = make_run("mine", "running")
    assert runs.status(run) == "running"
    run.update_manifest(process="another")
    assert runs.status(run) == "killed"


def test_a_block_without_an_exception_leaves_the_status_to_its_owner(make_run):
    run = make_run("a", "running")
    with runs.recorded(run):
        pass
    assert run.manifest()["status"] == "running"


def test_a_vanished_run_folder_does_not_hide_the_first_error(make_run):
    run = make_run("a", "running")
    with pytest.raises(RuntimeError, match="first"), runs.recorded(run):
        run.file(runs.MANIFEST).unlink()
        raise RuntimeError("first")


# Finding


def test_a_run_is_found_by_folder_and_by_name(tmp_path, make_run):
    run = make_run("mine")
    assert runs.find(str(run.path), tmp_path / "elsewhere") == run
    assert runs.find("mine", tmp_path / "runs") == run


def test_the_folder_one_is_in_has_its_own_name(tmp_path, make_run, monkeypatch):
    path = make_run("here").path
    (path / "plots").mkdir()
    for folder, reference in ((path, "."), (path / "plots", "..")):
        monkeypatch.chdir(folder)
        found = runs.find(reference, tmp_path)
        assert (found.name, found.path.parent.resolve()) == ("here", path.parent.resolve())


def test_without_a_reference_the_run_that_finished_last_is_found(tmp_path, make_run):
    make_run("z", finished="2026-01-01T00:00:00")
    newest = make_run("a", finished="2026-01-03T00:00:00")
    make_run("m", finished="2026-01-02T00:00:00")
    make_run("zz", status="interrupted", finished="2026-01-09T00:00:00")
    make_run("zzz", status="running")
    assert runs.find(None, tmp_path / "runs") == newest


@pytest.mark.parametrize("status", [None, "failed", "running", "interrupted"])
def test_no_finished_run_is_said(tmp_path, make_run, status):
    if status:
        make_run("a", status)
    with pytest.raises(ModelError, match="no finished run"):
        runs.find(None, tmp_path / "runs")


def test_a_typo_suggests_the_closest_run(tmp_path, make_run):
    make_run("resnet-pets")
    with pytest.raises(ModelError, match=r"no run 'resnt-pets'.* Did you mean 'resnet-pets'\?"):
        runs.find("resnt-pets", tmp_path / "runs")


def test_runs_are_listed_by_name_and_other_folders_passed_over(tmp_path, make_run):
    make_run("b")
    make_run("a", "failed")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "file").touch()
    assert [run.name for run in runs.all_runs(tmp_path / "runs")] == ["a", "b"]
    assert runs.all_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', "\udcff"])
def test_a_damaged_manifest_is_said(make_run, text):
    run = make_run("a")
    run.file(runs.MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError) as caught:
        run.manifest()
    assert "manifest" in caught.value.message
    assert str(run.path) in caught.value.message
    assert runs.status(run) == "damaged"


def test_a_damaged_run_does_not_hide_the_others(tmp_path, make_run):
    make_run("damaged").file(runs.MANIFEST).write_text("{")
    good = make_run("good", finished="2026-01-01")
    assert runs.find(None, tmp_path / "runs") == good


def test_a_folder_that_is_no_run_is_said(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        runs.Run(tmp_path).manifest()


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("model.json", ".gitignore", ".model.json.note", "plots/history.png")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")

    def write(path):
        path.write_text("whole")
        (tmp_path / "plots" / path.name).write_text("half")  # under the name that a killed write would leave

    runs.atomic_write(tmp_path / "model.safetensors", write)
    assert [*(tmp_path / "plots").glob(".model.safetensors.*")]
    (tmp_path / ".tmpq8CICC").touch()  # a killed safetensors left this
    runs.sweep(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted([*kept, tmp_path / "model.safetensors"])


# Killed while a run is made, at every step of it


class Killed(BaseException):
    """Nothing is tidied up after it."""


def die_at(step: int, monkeypatch) -> None:
    """Let the n-th thing that ``create`` asks of the system kill it, as SIGKILL would: nobody removes anything."""
    done = []

    def counted(call):
        def counting(*args, **kwargs):
            done.append(1)
            if len(done) == step:
                raise Killed
            return call(*args, **kwargs)

        return counting

    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    for name in ("chmod", "rename", "replace", "write_text"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(tempfile, "mkstemp", counted(tempfile.mkstemp))
    monkeypatch.setattr(runs.locks, "held", counted(runs.locks.held))


@pytest.mark.parametrize("step", range(1, 12))
def test_a_run_killed_while_it_is_made_leaves_its_name_free(tmp_path, step):
    with pytest.MonkeyPatch.context() as patch:
        die_at(step, patch)
        try:
            runs.create(tmp_path, "mine", "seed: 1\n", {"command": "test"})
        except Killed:
            pass
        else:
            pytest.skip(f"it is made in fewer than {step} steps")
    left = runs.all_runs(tmp_path)
    assert (tmp_path / "mine").exists() == bool(left)  # whole or not there at all
    if not left:
        assert runs.create(tmp_path, "mine", "seed: 1\n", {"command": "test"}).manifest()["status"] == "running"
    assert runs.status(runs.Run(tmp_path / "mine")) in ("running", "killed")


def test_what_a_killed_process_left_is_removed_by_the_next_run_and_nothing_else(tmp_path):
    dead, alive, foreign = (tmp_path / f".mine.{word}" for word in ("deaddead", "alive123", "foreign1"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
        (folder / runs.CONFIG).write_text("seed: 1\n")
    (dead / runs.locks.LOCK).touch()
    (foreign / runs.locks.LOCK).touch()
    (foreign / "notes.txt").write_text("mine")
    runs.create(tmp_path, "other", "", {})
    # Without a lock it may have been made a moment ago.
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine.alive123", ".mine.foreign1", "other"]
    os.utime(alive, (0, 0))
    runs.create(tmp_path, "another", "", {})
    assert not alive.exists()
    assert foreign.exists()


def test_a_run_killed_before_its_folder_had_a_lock_leaves_nothing_once_it_is_begun_again(tmp_path):
    (tmp_path / ".mine.deaddead").mkdir()
    (tmp_path / ".other.deaddead").mkdir()
    runs.create(tmp_path, "mine", "", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.deaddead", "mine"]


@pytest.mark.skipif(os.name != "posix", reason="a lock held by this process itself cannot be seen by it")
def test_a_folder_another_process_is_filling_stays(tmp_path):
    filling = tmp_path / ".mine.aaaabbbb"
    filling.mkdir()
    script = (
        f"import fcntl, time; stream = open({str(filling / '.lock')!r}, 'a+b'); fcntl.lockf(stream, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            runs.create(tmp_path, "other", "", {})
            assert filling.exists()
        finally:
            other.kill()
    runs.create(tmp_path, "another", "", {})
    assert not filling.exists()


def test_half_a_run_is_no_run(tmp_path):
    half = tmp_path / ".mine.aaaabbbb"
    runs.create(tmp_path, "whole", "", {}).path.rename(half)
    assert runs.all_runs(tmp_path) == []


def test_a_full_disk_while_a_run_is_made_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "write_json", full)
    with pytest.raises(ModelError, match=r"cannot make the run folder .*No space left on device") as caught:
        runs.create(tmp_path / "runs", "mine", "", {})
    assert "make room" in caught.value.hint
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("name", ["con", "AUX", "nul.txt", "Com1", "lpt9.x", "com¹", "ends.", "v1.."])
def test_a_name_windows_cannot_have_is_refused_everywhere(tmp_path, name):
    with pytest.raises(UserError, match="Windows has no such folder") as caught:
        runs.create(tmp_path, name, "", {})
    assert runs.create(tmp_path, caught.value.hint.rpartition(" ")[2], "", {}).path.is_dir()


@pytest.mark.parametrize("name", ["a\\b", "c:", "C:\\runs", "a/b", "a:b", "a*", 'a"', "a<b", "a|b", "a?"])
def test_a_name_that_is_a_windows_path_or_no_file_name_there_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="cannot be a run's name"):
        runs.create(tmp_path, name, "", {})


@pytest.mark.parametrize("name", ["console", "auxiliary", "com10", "com", "null", "v1.con"])
def test_names_that_only_look_like_devices_are_accepted(tmp_path, name):
    assert runs.create(tmp_path, name, "", {}).name == name


def test_the_run_just_made_can_be_read_by_whom_any_folder_can(tmp_path):
    (tmp_path / "other").mkdir()
    made = runs.create(tmp_path, "mine", "", {}).path
    assert made.stat().st_mode == (tmp_path / "other").stat().st_mode
