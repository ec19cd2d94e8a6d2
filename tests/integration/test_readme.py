"""The commands of the README run as they stand, top to bottom."""

import os
import re
import subprocess
import sys

import pytest
import shapes
import torch
from support import ROOT
from torchvision.models import resnet34

BLOCKS = re.findall(r"<!-- run -->\n```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)

# In the working folder it is used where no other configuration is named: the same commands, on tiny images.
TINY = """
version: 1
data: {path: PHOTOS, workers: 0}
augment: {size: 32, presize: 40}
model: {pretrained: auto}
train: {lr: 0.003, precision: fp32}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with photos, and weights for a ResNet-34 in torchvision's cache."""
    home = tmp_path_factory.mktemp("home")
    shapes.write(home / "photos", per_class=10)
    (home / "imgclf.yaml").write_text(TINY.replace("PHOTOS", str(home / "photos")))
    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(resnet34(weights=None).state_dict(), cache / "resnet34-b627a593.pth")
    bin_folder = home / "bin"
    bin_folder.mkdir()
    command = bin_folder / "imgclf"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m imgclf "$@"\n')
    command.chmod(0o755)
    return home


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 2
    assert "imgclf train --arch resnet34 --epochs 3" in BLOCKS[0]


@pytest.mark.parametrize("block", BLOCKS)
def test_readme_block_runs(block, home):
    env = {
        **os.environ,
        "HOME": str(home),
        "TORCH_HOME": str(home / "torch"),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=home, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
