"""Every command block of the README and of docs/ runs, top to bottom, in a home folder made for its page.

The pages of `QUICK` run with every test; the others take minutes and are marked slow. What is made smaller than a
reader's is told in tests/sandbox.py. Runs draw their plots on one page alone, `DRAWN`: that takes as long as training.
"""

import re
import shutil
from pathlib import Path

import documents
import pytest
import sandbox
import standins
from support import no_pictures

QUICK = {"README.md", "start.md"}
DRAWN = "README.md"
PARAMS = [
    pytest.param(page, id=documents.name(page), marks=[] if documents.name(page) in QUICK else pytest.mark.slow)
    for page in documents.PAGES
    if any(not block.excuse for block in documents.blocks(page))
]
# Commands that end otherwise than well: on few images the interval is too wide for the gate.
CODES = {"imgclf evaluate mine --split test --fail-under 0.92 --on low --json > figures.json": 6}


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        sandbox.small_networks(patch)
        sandbox.few_digits(patch)
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
    """The page's own home folder, with the run `mine` where the page does not train it."""
    blocks = [block for block in documents.blocks(request.getfixturevalue("page")) if not block.excuse]
    if documents.name(request.getfixturevalue("page")) != DRAWN:
        no_pictures(monkeypatch.setattr)
    text = "\n".join(block.body for block in blocks)
    before = text.partition("--name mine")[0]
    if re.search(r"\bmine\b", before):
        request.getfixturevalue("finished")
    shutil.copytree(house, tmp_path / "home", symlinks=True, ignore=None if "mine" in before else lambda *_: {"runs"})
    live_in(tmp_path / "home", monkeypatch)
    made = sandbox.Sandbox(tmp_path / "home")
    yield made
    made.close()


@pytest.mark.parametrize("page", PARAMS)
def test_the_blocks_of_a_page_run(page, home):
    for block in documents.blocks(page):
        if not block.excuse:
            home.block(block, CODES)
