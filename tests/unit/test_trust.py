"""No file runs code unless it is trusted: where code from files can run at all, and files that would."""

import ast
import importlib.util
import os
import pickle
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from support import ROOT, run_here

from imgclf.errors import ModelError, PackageError, UserError
from imgclf.shipping import inference
from imgclf.training import checkpoint, weights

# What runs code that is in a file, or starts a program, and the only modules that may: each asks for trust, or says in
# a comment why what it opens is its own.
RUNS_CODE = {
    "torch.jit.load": {"shipping.graphs"},
    "torch.export.load": {"shipping.graphs"},
    "load_learner": {"shipping.exporters.pkl", "shipping.importers.learner"},
    "subprocess.run": {"workflow.environment", "cli.launch"},
    "subprocess.Popen": {"cli.launch"},
}
NEVER = {
    "eval", "exec", "compile", "pickle.load", "pickle.loads", "np.load", "numpy.load", "pd.read_pickle", "joblib.load",
    "yaml.load", "os.system", "os.popen", "marshal.loads", "shelve.open", "torch.hub.load",
}  # fmt: skip


def calls() -> dict[str, list[tuple[str, ast.Call]]]:
    found = defaultdict(list)
    for path in sorted((ROOT / "imgclf").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "imgclf").with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found[ast.unparse(node.func)].append((module, node))
    return found


def test_code_of_a_file_runs_in_few_places():
    found = calls()
    assert {name: found[name] for name in NEVER if name in found} == {}
    for name, allowed in RUNS_CODE.items():
        assert {module for module, _ in found[name]} <= allowed, name
    for _, call in found["torch.load"]:
        assert "weights_only=True" in ast.unparse(call)
    for name in ("importlib.import_module", "import_module", "__import__"):
        for module, call in found[name]:
            # By a name that is written here, or asked for and trusted.
            assert module in ("foreign", "data.images", "shipping.exporters.onnx", "workflow.serve", "__init__") or (
                isinstance(call.args[0], ast.Constant)
            ), (name, module)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it-ran"


@pytest.fixture(params=["pickle", "torch"])
def bomb(request, marker, tmp_path) -> Path:
    """A pickle that makes a folder when it is loaded, plain and as torch writes it."""
    file = tmp_path / "bomb"
    if request.param == "torch":
        torch.save({"conv1.weight": torch.zeros(2), "x": Bomb(marker)}, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(marker)))
    return file


def test_the_bomb_goes_off(bomb, marker):
    torch.load(bomb, weights_only=False) if bomb.read_bytes()[:2] == b"PK" else pickle.loads(bomb.read_bytes())
    assert marker.is_dir()


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "pth", "ckpt", "pt", "pt2", "safetensors", "onnx", "xml", "bin"])
def test_no_model_file_runs_code_unasked(bomb, marker, tmp_path, suffix):
    file = shutil.copy(bomb, tmp_path / f"model.{suffix}")
    refused = ModelError if suffix != "xml" or importlib.util.find_spec("openvino") else PackageError
    with pytest.raises(refused):
        inference.load(file)
    assert not marker.exists()


def test_no_weights_and_no_checkpoint_run_code_even_if_trusted(bomb, marker, tmp_path):
    for suffix in ("pth", "pt", "bin", "safetensors"):
        with pytest.raises(ModelError):
            weights.read(Path(shutil.copy(bomb, tmp_path / f"w.{suffix}")))
    with pytest.raises(UserError):
        checkpoint.load(Path(shutil.copy(bomb, tmp_path / "last.ckpt")), torch.device("cpu"))
    assert not marker.exists()


@pytest.mark.parametrize("suffix", ["pkl", "pth", "tar", "ckpt", "bin", "pt", "safetensors"])
def test_an_import_runs_no_code_unasked(bomb, marker, tmp_path, suffix):
    shutil.copy(bomb, tmp_path / f"m.{suffix}")
    (tmp_path / "names.txt").write_text("a\nb\n")
    facts = [] if suffix == "pkl" else ["--classes", "names.txt", "--arch", "resnet18"]
    done = run_here("import", f"m.{suffix}", *facts, cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert not marker.exists()
