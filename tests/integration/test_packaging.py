"""The wheel: what is in it, and that it works where nothing else of the project is."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from imgclf import __version__
from scripts import releasing

ROOT = Path(__file__).parents[2]
CONFIGS = {path.name for path in (ROOT / "configs").glob("*.yaml")}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def members(wheel) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_name_says_any_python_3_any_machine(wheel):
    assert wheel.name == f"imgclf-{__version__}-py3-none-any.whl"


def test_every_module_is_in_the_wheel(members):
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "imgclf").rglob("*.py")}
    assert {name for name in members if name.endswith(".py")} == expected
    assert "imgclf/py.typed" in members


def test_embedded_configurations_are_in_the_wheel(members):
    assert CONFIGS
    assert {name for name in members if name.endswith(".yaml")} == {f"imgclf/configs/{name}" for name in CONFIGS}


def test_nothing_else_is_in_the_wheel(members):
    assert {name.split("/")[0] for name in members} == {"imgclf", f"imgclf-{__version__}.dist-info"}
    assert {Path(name).suffix for name in members if name.startswith("imgclf/")} <= {
        ".py",
        ".yaml",
        ".typed",
        ".html",
        ".js",
    }


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = f"imgclf-{__version__}.dist-info"
        found = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert (found["Name"], found["Version"]) == ("imgclf", __version__)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.10"
    assert set(found.get_all("Provides-Extra")) == {
        "onnx",
        "openvino",
        "serve",
        "parquet",
        "timm",
        "distributed",
        "tensorboard",
        "wandb",
        "mlflow",
        "test",
        "docs",
        "dev",
    }
    assert found.get_payload(decode=True).decode() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Apache License" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert "imgclf = imgclf.cli.app:main" in entry_points


@pytest.mark.slow
def test_wheel_works_away_from_the_checkout(wheel, tmp_path):
    """Needs the package registry. Trains, as a user would after installing the wheel."""
    assert "a server answered" in releasing.quick_start(wheel, tmp_path / "away from it")


def _run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
