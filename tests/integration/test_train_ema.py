"""`train.ema`: the bundle holds the averaged weights, and its figures are theirs."""

import pytest
import shapes
import torch
from safetensors.torch import load_file
from support import history, run_here

pytestmark = pytest.mark.usefixtures("quick")
TINY = [
    *("-a", "resnet18", "-e", "1", "--freeze-epochs", "1", "--size", "32", "--presize", "40", "-b", "8"),
    *("--lr", "0.003", "--set", "model.pretrained=false", "--set", "train.precision=fp32", "--set", "model.cut=-3"),
    *("--device", "cpu", "--set", "data.workers=0", "--name", "run"),
]  # fmt: skip


def test_the_bundle_is_the_average_of_the_steps(tmp_path, monkeypatch):
    from imgclf.training.saver import Saver

    images, steps, after_batch = shapes.write(tmp_path / "images", per_class=7), [], Saver.after_batch

    def spy(self):
        if self.training:
            steps.append({k: v.clone().double() for k, v in self.learn.model.state_dict().items()})
        after_batch(self)

    monkeypatch.setattr(Saver, "after_batch", spy)
    settings = ["--set", "train.ema=0.7", "--set", "train.lr_unfrozen=auto"]  # a sweep in between does not count
    done = run_here("train", "-d", images, *TINY, *settings, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows, run = history(tmp_path / "runs" / "run"), tmp_path / "runs" / "run"
    best = max(i for i, row in enumerate(rows) if row["best"] == "True")
    until = steps[: (best + 1) * len(steps) // len(rows)]
    expected = until[0]
    for state in until[1:]:
        expected = {k: 0.7 * expected[k] + 0.3 * v for k, v in state.items()}
    bundle = load_file(run / "model.safetensors")
    assert bundle.keys() == expected.keys()
    for name in [name for name in bundle if "num_batches" not in name]:
        torch.testing.assert_close(bundle[name].double(), expected[name], rtol=1e-4, atol=1e-6)
    assert done.json["best"]["error_rate"] == pytest.approx(float(rows[best]["error_rate"]), abs=1e-6)


@pytest.mark.parametrize("value", ["1", "0", "true", "x"])
def test_a_decay_that_is_none(value, tmp_path):
    done = run_here("train", "--set", f"train.ema={value}", cwd=tmp_path)
    assert (done.returncode, "train.ema" in done.stderr) == (2, True)
