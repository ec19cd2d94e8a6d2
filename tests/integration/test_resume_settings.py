"""Resuming is exact with every setting that has a state or draws at random: killed after every third save, in process.

What `kill -9` at random moments adds is in test_resume.py.
"""

from pathlib import Path

import pytest
import shapes
from support import history, run_here, same

SMALL = [
    *("-a", "resnet18", "--size", "16", "--presize", "20", "-b", "6", "--device", "cpu", "--name", "run", "--quiet"),
    *("--set", "model.pretrained=false", "--set", "model.cut=-4", "--set", "train.precision=fp32"),
    *("--set", "data.workers=0", "--set", "train.checkpoint_minutes=0"),
]  # fmt: skip
LR = ["--lr", "0.003"]
TWO_PHASES = ["-e", "1", "--freeze-epochs", "1"]
STAGES = "train.stages=[{epochs: 1, freeze_to: -1, lr: 2e-3}, {epochs: 1, freeze_to: 0, lr: [1e-4, 1e-3]}]"

# Each setting occurs once; those that do not touch each other share a run.
TOGETHER = {
    "flat_cos, mixup, ema, one channel, images on disk": [
        *LR, "-e", "2", "--set", "train.schedule=flat_cos", "--set", "augment.mixup=0.4", "--set", "train.ema=0.8",
        "--set", "data.channels=1", "--set", "data.cache=disk",
    ],
    "staged, accumulate, cutmix, clip, images in memory": [
        "--set", "train.schedule=staged", "--set", STAGES, "--set", "train.accumulate=2", "--set", "augment.cutmix=1.0",
        "--set", "train.clip=0.5", "--set", "data.cache=ram",
    ],
    "lr auto twice, patience, sampler, erase, late": [
        "--lr", "auto", "-e", "1", "--freeze-epochs", "1", "--set", "train.patience=1", "--set", "data.balance=sampler",
        "--set", "augment.erase=0.5", "--set", "train.lr_unfrozen=auto", "--set", "train.ema=late",
    ],
}  # fmt: skip
ALONE = {
    "one_cycle": [*LR, "-e", "2", "--set", "train.schedule=one_cycle"],
    "flat_cos": [*LR, "-e", "2", "--set", "train.schedule=flat_cos"],
    "staged": ["--set", "train.schedule=staged", "--set", STAGES],
    "lr auto": ["--lr", "auto", *TWO_PHASES],
    **{
        setting: [*LR, *TWO_PHASES, "--set", setting]
        for setting in (
            "train.patience=1", "augment.mixup=0.4", "augment.cutmix=1.0", "train.ema=0.8", "train.accumulate=3",
            "data.channels=1", "train.opt=ranger", "train.opt=lamb", "train.opt=sgd", "augment.engine=fastai",
            "data.balance=loss", "train.precision=bf16", "train.channels_last=true",
        )
    },
}  # fmt: skip


class Killed(BaseException):
    """What nothing catches, as nothing catches a kill."""


@pytest.fixture(scope="module", autouse=True)
def _judged_once(quick):
    """The first run's figures for all: they are not the subject here."""
    from imgclf.workflow import keeping

    judge, first = keeping.judge, []

    def once(*arguments):
        first.append(judge(*arguments)) if not first else None
        return first[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "judge", once)
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("settings") / "images", per_class=6)


def killed_after(monkeypatch, saves: int, *arguments: object, cwd: Path) -> bool:
    """Run a command that is killed after so many checkpoints; returns whether it was done before."""
    from imgclf.training import checkpoint

    save, done = checkpoint.save, []

    def saved(*args):
        save(*args)
        done.append(1)
        if len(done) == saves:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", saved)
        try:
            finished = run_here(*arguments, cwd=cwd)
        except Killed:
            return False
    assert finished.returncode == 0, finished.stderr
    return True


def resumed_equals_undisturbed(images, work: Path, monkeypatch, settings) -> None:
    whole, pieces = work / "whole", work / "pieces"
    whole.mkdir()
    pieces.mkdir()
    arguments = ["train", "-d", images, *SMALL, *settings]
    done = run_here(*arguments, cwd=whole)
    assert done.returncode == 0, done.stderr
    kills = 0
    while not killed_after(monkeypatch, 3, *arguments, cwd=pieces):
        kills += 1
        arguments = ["train", "--resume", "run", "--quiet"]
    assert kills >= 2
    same(pieces / "runs" / "run", whole / "runs" / "run")


@pytest.mark.parametrize("name", TOGETHER)
def test_settings_resume_exactly(name, images, tmp_path, monkeypatch):
    resumed_equals_undisturbed(images, tmp_path, monkeypatch, TOGETHER[name])
    assert len(history(tmp_path / "whole" / "runs" / "run")) == 2


def test_after_the_probe_a_run_resumes_exactly(tmp_path, monkeypatch):
    """With the heads that were fitted without the images, the mean of the weights, and parts of a batch."""
    shapes.write_with_weights(tmp_path, per_class=6)
    own = ["-d", tmp_path / "images", "--set", f"model.weights={tmp_path / 'weights.pth'}", "-e", "2"]
    settings = [*own, "--set", "model.pretrained=true", "--set", "train.accumulate=2"]
    resumed_equals_undisturbed(tmp_path / "images", tmp_path, monkeypatch, settings)
    whole = tmp_path / "whole" / "runs" / "run"
    assert [row["phase"] for row in history(whole)] == ["probe", "unfrozen", "unfrozen"]
    assert "out_of_fold" in (whole / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_each_setting_alone_resumes_exactly(name, images, tmp_path, monkeypatch):
    resumed_equals_undisturbed(images, tmp_path, monkeypatch, ALONE[name])
