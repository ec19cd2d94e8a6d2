"""What every test may use: tiny pictures, the project's shared photographs, a cache of its own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import support
from hypothesis import settings
from support import SHARED, make_files, noise, picture, unpack

from imgclf.config import Override, load
from imgclf.schema import Config

settings.register_profile("any machine", deadline=None)  # a machine with other work to do fails no test
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Tests that run side by side share the cores: one thread for each process, and for the commands it starts.

    Files are given out as collected, integration first: by their number of tests, as pytest-xdist has it, files of one
    long test would come last, and a process would wait for the other one's.
    """
    config.option.loadscopereorder = False  # as --no-loadscope-reorder, which 3.6 does not know
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # torch is not imported yet


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """The embedded digits are written into a temporary folder, unless the caller names one."""
    with pytest.MonkeyPatch.context() as patch:
        if "IMGCLF_CACHE" not in os.environ:
            patch.setenv("IMGCLF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the project's shared photographs."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the project's shared photographs are not here: {SHARED} (IMGCLF_SHARED names another folder)")
    return SHARED


@pytest.fixture(scope="session")
def odd_images(shared, tmp_path_factory) -> Path:
    """The unpacked pack of awkward files."""
    return unpack(shared / "data" / "odd-images.tar", tmp_path_factory.mktemp("shared"))


@pytest.fixture
def make_config(tmp_path, monkeypatch) -> Callable[..., Config]:
    """``make_config(path, **{"data.labels": "csv"})``: schema defaults with changes."""

    def make(path: object = "digits", **settings: object) -> Config:
        overrides = [Override("data.path", str(path), "test")]
        file = tmp_path / "empty-config.yaml"
        file.write_text("version: 1\n")
        return load(str(file), [*overrides, *(Override(k, v, "test") for k, v in settings.items())]).config

    return make


@pytest.fixture(scope="session")
def pictures() -> type:
    """The picture makers of ``support``, for tests in any folder."""
    return Makers


class Makers:
    """Tiny pictures, in memory and as files."""

    picture = staticmethod(picture)
    noise = staticmethod(noise)
    files = staticmethod(make_files)


@pytest.fixture(scope="module")
def quick():
    """Runs on one thread that draw no pictures: for what is not about those."""
    with support.one_thread(), pytest.MonkeyPatch.context() as patch:
        support.no_pictures(patch.setattr)
        yield
