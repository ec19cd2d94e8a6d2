"""Every command block of the README and of docs/ runs, top to bottom, in a home folder made for its page.

The pages of `QUICK` run with every test; the others take minutes and are marked slow. What is made smaller than a
reader's is told in tests/sandbox.py. Runs draw their plots on one page alone, `DRAWN`: that takes as long as training.
"""

import shutil
from pathlib import Path

import documents
import pytest
import sandbox
import standins
from support import need_openvino, no_pictures, one_thread

QUICK = {"README.md", "start.md"}
DRAWN = "README.md"
PARAMS = [
    pytest.param(page, id=documents.name(page), marks=[] if documents.name(page) in QUICK else pytest.mark.slow)
    for page in documents.PAGES
    if any(not block.excuse for block in documents.blocks(page))
]
# Commands that end otherwise than well: on few images the interval is too wide for the gate, and for "unknown"; a
# network that has learned next to nothing answers near the thresholds, where eight bits may change the answer.
CODES = {
    "imgclf evaluate mine --split test --fail-under 0.92 --on low --json > figures.json": {6},
    "imgclf evaluate mine --abstain 0.05": {6},
    "imgclf predict mine ~/photos --abstain 0.05": {4},
    "imgclf evaluate fruit --abstain 0.05": {6},
    "imgclf predict fruit ~/photos --abstain 0.05 --format csv": {4},
    "imgclf export multi --int8 --all": {0, 5},
}


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        sandbox.small_networks(patch)
        sandbox.few_digits(patch)
        with one_thread():  # on tiny images others only wait for each other: a run takes a fifth of the time
            yield


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """What every page finds in its home folder."""
    return standins.furnish(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def finished(house) -> Path:
    """The run that pages call `mine`, on folders for training, validation and test, and its ONNX file."""
    home = sandbox.Sandbox(house)
    with pytest.MonkeyPatch.context() as patch:
        no_pictures(patch.setattr)
        live_in(house, patch)
        for command in ("imgclf train -d parts --arch resnet18 --name mine", "imgclf export mine --format onnx"):
            done = home.line(command)
            assert done.returncode == 0, done.stderr
    return house / "runs" / "mine"


def live_in(home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(home)
    patch.setenv("HOME", str(home))
    patch.setenv("TORCH_HOME", str(home / "torch"))
    patch.setenv("IMGCLF_CACHE", str(home / ".cache" / "imgclf"))


@pytest.fixture
def home(house, tmp_path, monkeypatch, request):
    """The page's own home folder; with the run `mine`, but for the pages that begin with none."""
    name = documents.name(request.getfixturevalue("page"))
    if name != DRAWN:
        no_pictures(monkeypatch.setattr)
    if name not in QUICK:
        request.getfixturevalue("finished")
    shutil.copytree(house, tmp_path / "home", symlinks=True, ignore=(lambda *_: {"runs"}) if name in QUICK else None)
    live_in(tmp_path / "home", monkeypatch)
    made = sandbox.Sandbox(tmp_path / "home")
    yield made
    made.close()


@pytest.mark.parametrize("page", PARAMS)
def test_the_blocks_of_a_page_run(page, home):
    if documents.name(page) == "openvino.md":
        need_openvino()
    for block in documents.blocks(page):
        if not block.excuse:
            home.block(block, CODES)
