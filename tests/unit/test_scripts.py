"""The scripts a newcomer and CI start with: there, runnable, and tied to no machine."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ["scripts/demo", "scripts/docs", "scripts/test", "scripts/platforms", "scripts/release_check", ".ci/run"]
TEXTS = [*COMMANDS, "scripts/_environment", *(str(p.relative_to(ROOT)) for p in ROOT.glob("scripts/constraints/*.txt"))]
CONSTRAINTS = sorted(ROOT.glob("scripts/constraints/*.txt"))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_can_be_run(name):
    assert os.access(ROOT / name, os.X_OK)
    assert (ROOT / name).read_text().startswith("#!/usr/bin/env bash\n")


@pytest.mark.parametrize("name", [*COMMANDS, "scripts/_environment"])
def test_shell_syntax(name):
    done = subprocess.run(["bash", "-n", ROOT / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", TEXTS)
def test_tied_to_no_machine(name):
    text = (ROOT / name).read_text().replace("#!/usr/bin/env bash", "")
    assert not re.search(r"https?://|file://|index-url|find-links|trusted-host|pypi|pythonhosted", text, re.IGNORECASE)
    absolute = re.findall(r"(?<![\w.$}\"~*)])/[A-Za-z][\w./-]*", text)
    assert set(absolute) <= {"/dev/null", "/path"}


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_constraints_are_exact_versions(path):
    """torch and torchvision alone may be capped instead: they fit each other, and a machine may cap them lower."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        pin = r"([a-z0-9.-]+==|(torch|torchvision)<=)[0-9][0-9.]*"
        assert re.fullmatch(pin + r"(; python_version (<|>=) \"3\.\d+\")?", line), line


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_constraints_hold_every_dependency(path):
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["onnx"]
    names = {re.match(r"[\w.-]+", item).group() for item in needed}
    held = {re.split("[<=]=", line)[0] for line in path.read_text().splitlines()}
    assert names <= held


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", ".ci/run"])
@pytest.mark.parametrize(
    ("python", "message"),
    [("no-such-python", "there is no 'no-such-python' here"), ("./old", "is Python 3.9"), ("./broken", "does not run")],
)
def test_python_that_does_not_fit_is_refused_clearly(tmp_path, name, python, message):
    for file, body in {"old": "echo 3.9", "broken": "exit 1"}.items():
        (tmp_path / file).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / file).chmod(0o755)
    done = _run(name, tmp_path, PYTHON=python, IMGCLF_VENV="new venv")
    assert done.returncode == 1
    assert message in done.stderr
    assert "PYTHON=python3.12" in done.stderr
    assert not (tmp_path / "new venv").exists()


def test_folder_that_is_no_environment_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").touch()
    done = _run("scripts/test", tmp_path, IMGCLF_VENV="photos")
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (tmp_path / "photos/cat.jpg").exists()


def test_missing_constraints_are_named(tmp_path):
    done = _run("scripts/test", tmp_path, IMGCLF_CONSTRAINTS="none.txt", IMGCLF_VENV="new")
    assert done.returncode == 1
    assert "no such file" in done.stderr


def test_platforms_go_on_after_a_failure_and_end_in_a_table(tmp_path):
    for python in ("python3.10", "python3.13"):
        (tmp_path / python).write_text('#!/bin/sh\n[ "$2" = "" ] || echo 3.9\n')
        (tmp_path / python).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = _run(
        "scripts/platforms", tmp_path, "310-oldest", "313-newest", PATH=path, IMGCLF_VENVS=str(tmp_path / "venvs")
    )
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [
        ["310-oldest", "FAILED"],
        ["313-newest", "FAILED"],
    ]
    assert "'python3.13' is Python 3.9" in done.stdout


def test_a_platform_whose_python_is_missing_did_not_pass(tmp_path):
    (tmp_path / "python3.10").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3.10").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = _run("scripts/platforms", tmp_path, "310-oldest", PATH=path, PYENV_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith("there is no python3.10")


def test_unknown_platforms_are_refused(tmp_path):
    done = _run("scripts/platforms", tmp_path, "39-oldest")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no platform '39-oldest'; there are: 310-oldest" in done.stderr


def _run(name: str, folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    given = {"PYTHON", "IMGCLF_VENV", "IMGCLF_CONSTRAINTS"}
    environment = {**{k: v for k, v in os.environ.items() if k not in given}, **variables}
    return subprocess.run(
        ["bash", ROOT / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
