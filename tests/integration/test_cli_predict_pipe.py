"""`imgclf predict … | head`: a reader that has seen enough is no error."""

import os
import subprocess
import sys

import pytest
from support import short_body


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained bundle: what it answers does not matter here."""
    import torch
    from fastai.vision.learner import create_head
    from torch import nn

    from imgclf.data.images import Preprocess
    from imgclf.shipping import bundle, layers

    torch.manual_seed(0)
    net = nn.Sequential(short_body(), create_head(128, 2)).eval()
    record = bundle.Record(
        classes=("a", "b"), preprocess=Preprocess(size=32), arch="resnet18", head=layers.describe(net[1]),
        temperature=1.0, metrics={}, training={}, cut=-4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    bundle.save(folder, net.state_dict(), record)
    return folder


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_head_gets_its_line_and_nobody_complains(model, tmp_path, pictures):
    pictures.files(tmp_path / "images", "0.png", size=(8, 8))
    for i in range(1, 300):  # more than a pipe's or a file's buffer holds
        os.link(tmp_path / "images" / "0.png", tmp_path / "images" / f"{'long name ' * 15}{i}.png")
    command = [sys.executable, "-m", "imgclf", "predict", model, tmp_path / "images", "--format", "jsonl", "-b", "32"]
    settings = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=settings) as process:
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
        code = process.wait(timeout=120)
    assert "Traceback" not in err and "BrokenPipe" not in err
    assert code == 0
