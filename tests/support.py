"""What tests share that is no fixture: tiny pictures, the shared archives, the real command."""

import contextlib
import csv
import io
import json
import math
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
CLOSE = 1e-5  # a batch of another size may sum in another order
SHARED = Path(os.environ.get("IMGCLF_SHARED", ROOT.parent / "shared"))


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a ``.tar`` of the shared folder; returns the folder it holds."""
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target / archive.stem


@contextlib.contextmanager
def stopping(monkeypatch, at: int):
    """Within the block every run is asked to stop, as by Ctrl-C, after that many training steps."""
    from imgclf.training.watch import Watch

    after_batch, steps = Watch.after_batch, []

    def stop(self):
        after_batch(self)
        steps.append(1) if self.training else None
        self.request.asked = len(steps) >= at

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "after_batch", stop)
        yield


def picture(width: int = 12, height: int = 9, seed: int = 0) -> Image.Image:
    """A smooth random RGB picture: like a photograph, it survives JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture in which every pixel differs from its neighbours."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture with coarse and fine structure, unlike any other seed's."""
    random = np.random.default_rng(seed)
    made = np.zeros((height, width, 3))
    for cells, share in ((3, 0.5), (7, 0.3), (20, 0.2)):
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        made += share * np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(made.astype(np.uint8))


def saved(image: Image.Image, quality: int) -> Image.Image:
    """The picture as it comes out of a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def make_files(root: Path, *names: str, size: tuple[int, int] = (12, 9)) -> Path:
    """Pictures of different content under ``root``, one for each relative name."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(*size, seed=seed).save(path, format="PNG" if path.suffix.lower() != ".jpg" else "JPEG")
    return root


def differences(a, b, where: str = "") -> list[str]:
    """Where two documents differ by more than rounding."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [line for key in a for line in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, pair in enumerate(zip(a, b, strict=True)) for line in differences(*pair, f"{where}[{i}]")]
    if isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE):
        return []
    return [] if a == b else [f"{where}: {a} and {b}"]


@dataclass(frozen=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.stdout)


def run_command(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """The real command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(env or {})}
    done = subprocess.run(
        [sys.executable, "-m", "imgclf", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def run_here(*arguments: object, cwd: Path) -> Done:
    """The command in this process: saves the seconds that importing torch and fastai takes each time."""
    from imgclf.cli.app import run

    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            code = run([str(a) for a in arguments])
    finally:
        os.chdir(before)
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def one_thread():
    """Enough for tiny images; and another number of threads adds in another order, so to other bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def short_body():
    """The stem and the first two stages of a ResNet-18 at random, 128 channels: what ``cut=-4`` builds.

    3 MB instead of 45, and half of the layers, by which the time of an export goes.
    """
    from torch import nn
    from torchvision.models import resnet18

    return nn.Sequential(*list(resnet18(weights=None).children())[:-4])


def no_pictures(replace: Callable[[str, object], None]) -> None:
    """Let runs draw nothing, and fit no learning curve: both together take longer than their training.

    Args:
        replace: Sets what a dotted name stands for, as ``monkeypatch.setattr`` does.
    """
    from imgclf import runs
    from imgclf.workflow import look

    drawn = look.batch_plot  # for `data show`, which is asked for a picture

    def batch_plot(cfg, made, out, *n):
        return out if out.parent.name == runs.PLOTS else drawn(cfg, made, out, *n)

    replace("imgclf.workflow.keeping.draw", lambda *_: [])
    replace("imgclf.results.plots.history_plot", lambda *_: None)
    replace("imgclf.workflow.look.batch_plot", batch_plot)
    replace("imgclf.results.learning_curve.curve", lambda *_: {"figure": None, "why": "not fitted in this test"})


def history(run: Path) -> list[dict[str, str]]:
    """The rows of ``history.csv`` without what differs from time to time."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def same(run: Path, other: Path) -> None:
    """Assert that two runs ended with the same bits: best weights, last weights and optimizer, history.

    The temperature is fitted to what validation said or, in a run stopped after it, to what the bundle says.
    """
    import pytest
    import torch
    from safetensors.torch import load_file

    assert history(run) == history(other)
    for name in ("model.safetensors", "last.ckpt"):
        a, b = load_file(run / name), load_file(other / name)
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    a, b = (json.loads((r / "model.json").read_text())["temperature"] for r in (run, other))
    assert a == pytest.approx(b, rel=1e-4)


def traces(folder: Path) -> list[str]:
    """What the files of a folder say of this machine: its folders and its name; those in archives too."""
    places = [ROOT, Path(sys.prefix), Path(tempfile.gettempdir()).resolve(), Path(tempfile.gettempdir()), Path.home()]
    words = {f"{place}/" for place in places} | {"pytest-of-"} | {name for name in [platform.node()] if len(name) > 5}
    found = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        parts = {path.name: path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
        found += [f"{part}: {word}" for part, data in parts.items() for word in words if word.encode() in data]
    return found


def need_openvino() -> None:
    """Skip where it is not installed; else import it as imgclf does, without its telemetry."""
    import pytest

    from imgclf.shipping.graphs import import_openvino

    try:
        import_openvino()
    except ImportError:
        pytest.skip("needs openvino: pip install 'imgclf[openvino]'")
