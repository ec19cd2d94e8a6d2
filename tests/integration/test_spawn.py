"""Worker processes that are spawned, as on Windows: whatever goes to them is pickled, and nothing is inherited."""

import os
import subprocess
import sys

import shapes
from support import ROOT, run_here, same

SMALL = [
    *("-a", "resnet18", "-e", "1", "--freeze-epochs", "0", "--size", "32", "--presize", "40", "-b", "8"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32", "--device", "cpu"),
    *("--set", "model.cut=-4", "--name", "run", "--quiet"),
]  # fmt: skip
SCRIPT = """
import multiprocessing
multiprocessing.set_start_method("spawn")
import torch
torch.set_num_threads(1)
from imgclf.cli.app import main
main()
"""


def test_a_training_with_spawned_workers_equals_one_without_any(tmp_path, quick):
    images = shapes.write(tmp_path / "images", per_class=6)
    spawned, alone = tmp_path / "spawned", tmp_path / "alone"
    spawned.mkdir()
    alone.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "train", "-d", str(images), *SMALL, "--set", "data.workers=1"],
        cwd=spawned, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_here("train", "-d", images, *SMALL, "--set", "data.workers=0", cwd=alone).returncode == 0
    same(spawned / "runs" / "run", alone / "runs" / "run")
