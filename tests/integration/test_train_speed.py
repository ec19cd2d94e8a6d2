"""Memory format, deterministic kernels and compilation change how a run is computed, not what it gives."""

import pytest
import shapes
from support import run_command, run_here

from imgclf.shipping import bundle

FAST = [
    *("-e", "1", "--freeze-epochs", "0", "-a", "resnet18", "--size", "32", "--presize", "40", "-b", "12"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
]  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    shapes.write(folder / "photos", per_class=6)
    return folder


def weights(work, name):
    return bundle.read(work / "runs" / name)[0]


@pytest.mark.slow
def test_deterministic_runs_in_two_processes_give_the_same_weights(work):
    settings = ["--set", "train.deterministic=true", "--set", "train.channels_last=true", "--set", "data.workers=0"]
    for name in ("one", "two"):
        done = run_command("train", "-d", "photos", *FAST, *settings, "--name", name, cwd=work)
        assert done.returncode == 0, done.stderr
        assert "memory format: channels_last" in done.stderr
        assert "deterministic kernels alone" in done.stderr
    one, two = weights(work, "one"), weights(work, "two")
    assert one.keys() == two.keys()
    assert [name for name in one if not one[name].equal(two[name])] == []


@pytest.mark.slow
def test_a_compiled_run_is_an_ordinary_run(work):
    done = run_command("train", "-d", "photos", *FAST, "--set", "train.compile=true", "--name", "compiled", cwd=work)
    assert done.returncode == 0, done.stderr
    assert not any("_orig_mod" in name for name in weights(work, "compiled"))
    again = run_here("evaluate", "compiled", "--json", cwd=work)
    assert again.returncode == 0


@pytest.mark.slow
def test_no_compiler_is_the_users_to_know(work):
    run = run_command("train", "-d", "photos", *FAST, "--set", "train.compile=true", "--json", cwd=work,
                      env={"CXX": "/nonexistent", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"})  # fmt: skip
    assert run.returncode == 2
    assert "train.compile: torch.compile does not work on cpu here" in run.json["error"]["message"]
