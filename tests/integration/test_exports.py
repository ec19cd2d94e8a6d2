"""Every export format, from file bytes to probabilities, loaded as its user would."""

import json
import logging
import os
import pickletools
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import support
import torch
from fastai.vision.learner import create_head
from PIL import Image
from support import need_openvino, run_here, short_body, traces
from torch import nn
from torchvision.models import resnet18

from imgclf import __version__
from imgclf.data.images import Preprocess
from imgclf.errors import ExportError, PackageError
from imgclf.shipping import bundle, exporters, inference, layers, verify
from imgclf.shipping.exporters import pkl
from imgclf.workflow.export import SUFFIXES

CLASSES = ("zebra", "äpfel/birne", "cat 猫")  # not sorted, not ASCII, not a file name
SIZE = 64


def make_model(folder: Path, resize="crop", temperature=0.08, cut=None, crop_pct=1.0, **head) -> Path:
    """A bundle of resnet18, whole or with ``cut=-4``, and fastai's head, whose BatchNorm has seen images."""
    torch.manual_seed(0)
    body = short_body() if cut else nn.Sequential(*list(resnet18(weights=None).children())[:-2])
    net = nn.Sequential(body, create_head(128 if cut else 512, len(CLASSES), **head))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, SIZE, SIZE) + torch.randn(4, 3, 1, 1))
    preprocess = Preprocess(SIZE, resize, mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.25), crop_pct=crop_pct)
    abstain = {"abstention": [{"rate": 0.05, "threshold": 0.8}]}
    record = bundle.Record(CLASSES, preprocess, "resnet18", layers.describe(net[1]), temperature, abstain, cut=cut)
    bundle.save(folder, net.eval().state_dict(), record)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with support.one_thread():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Smooth and noisy pictures: large and small, grey, PNG, upper case, all EXIF orientations but the first."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    paths = []
    for i in range(9):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 7, 3), dtype=np.uint8))
        image = coarse.resize((400 - 33 * i, 90 + 25 * i), Image.Resampling.BICUBIC)
        path = folder / ("UPPER.PNG" if i == 0 else f"ü {i}.jpg")
        exif = Image.Exif()
        exif[0x0112] = i
        (image.convert("L") if i == 1 else image).save(path, exif=exif, quality=90)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """Where the whole network shows no more."""
    return make_model(tmp_path_factory.mktemp("short"), cut=-4)


@pytest.fixture(scope="module")
def expected(model, photos):
    probs = np.stack([p.probs for p in inference.load(model).predict(photos)])
    assert len(set(probs.argmax(1))) > 1 and probs.std(0).max() > 0.05  # else equal answers would prove little
    return probs


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory) -> Path:
    return exporters.export(model, "onnx", tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def pkl_file(model, tmp_path_factory) -> Path:
    return exporters.export(model, "pkl", tmp_path_factory.mktemp("pkl") / "export.pkl")


@pytest.mark.parametrize("fmt", exporters.FORMATS)
def test_every_format_gives_the_models_answers(model, photos, tmp_path, fmt):
    if fmt == "openvino":
        need_openvino()
    file = exporters.export(model, fmt, tmp_path / "out" / f"model{SUFFIXES[fmt]}")
    result = verify.check(file, fmt, model, photos)
    assert result.passed and result.n_images == len(photos) and result.max_abs_diff < 2e-5
    assert verify.verify_golden(file)["passed"]
    weights = ["model.bin"] if fmt == "openvino" else []
    assert sorted(p.name for p in file.parent.iterdir()) == [*weights, file.name, f"{file.name}.json"]
    assert traces(file.parent) == []


@pytest.mark.parametrize(
    ("resize", "head"),
    [("pad", {"bn_final": True}), ("squish", {"lin_first": True, "concat_pool": False}), ("crop", {"lin_ftrs": []})],
)
def test_other_heads_and_resizing(photos, tmp_path, resize, head):
    model = make_model(tmp_path / "model", resize, temperature=1.7, cut=-4, **head)
    for fmt in ("onnx", "pkl"):
        file = exporters.export(model, fmt, tmp_path / f"model{SUFFIXES[fmt]}")
        assert verify.check(file, fmt, model, photos).passed, fmt


@pytest.mark.parametrize("crop_pct", [0.875, 0.6])
def test_every_format_sees_as_much_of_an_image_as_the_model(photos, tmp_path, crop_pct):
    part, whole = (make_model(tmp_path / str(share), cut=-4, crop_pct=share) for share in (crop_pct, 1.0))
    mine, others = (np.stack([p.probs for p in inference.load(m).predict(photos)]) for m in (part, whole))
    apart = np.abs(mine - others).max()
    for fmt in ("onnx", "onnx-full", "pkl"):
        file = exporters.export(part, fmt, tmp_path / f"model{SUFFIXES[fmt]}")
        found = verify.check(file, fmt, part, photos)
        assert found.passed and found.max_abs_diff < apart / 3, fmt


def test_a_pickle_is_compared_where_fastai_cuts_out_the_same_square(photos, tmp_path):
    odd = tmp_path / "odd.png"
    Image.new("RGB", (300, 27)).save(odd)
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"none")
    assert int(27 / 49 * 49) == 26
    assert pkl.comparable(Preprocess(49), [odd, photos[0], torn]) == [photos[0], torn]
    assert pkl.comparable(Preprocess(49), [odd]) == [odd]
    assert pkl.comparable(Preprocess(49, "squish"), [odd, torn]) == [odd, torn]
    assert pkl.comparable(Preprocess(16), [odd, torn]) == [odd, torn]


def test_onnx_needs_nothing_but_onnxruntime_and_says_everything(onnx_file, model, photos, expected):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file))
    facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    record = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert facts == {
        "classes": list(CLASSES),
        "preprocess": record["preprocess"],
        "imgclf_version": __version__,
        "temperature": 0.08,
        "task": "single",
        "thresholds": None,
        "abstention": [{"rate": 0.05, "threshold": 0.8}],
    }
    [entry], [out] = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape[1:]) == ("image", "tensor(uint8)", [SIZE, SIZE, 3])
    assert (out.name, out.type, out.shape[1:]) == ("probs", "tensor(float)", [len(CLASSES)])
    assert isinstance(entry.shape[0], str) and entry.shape[0] == out.shape[0]
    pixels = np.stack([Preprocess(**facts["preprocess"]).load(p) for p in photos])
    for n in (1, 2, len(photos)):
        np.testing.assert_allclose(session.run(None, {"image": pixels[:n]})[0], expected[:n], atol=1e-5)


def test_onnx_through_the_predictor(onnx_file, model, photos, expected):
    predictor, original = inference.load(onnx_file), inference.load(model)
    assert (predictor.format, predictor.temperature, predictor.classes) == ("onnx", None, CLASSES)
    assert predictor.preprocess == original.preprocess
    found = list(predictor.predict(photos, batch_size=4))
    np.testing.assert_allclose(np.stack([p.probs for p in found]), expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(found[0].logits), found[0].probs, atol=1e-6)


def test_an_export_abstains_as_the_model_does(onnx_file, model, photos, expected, tmp_path):
    def labels(what, *more):
        done = run_here("predict", what, *photos, *more, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [(row["label"], row["abstained"]) for row in done.json["predictions"]]

    found = labels(onnx_file, "--abstain", 0.07)
    assert found == labels(model, "--abstain", 0.07)
    assert [abstained for _, abstained in found] == (expected.max(1) < 0.8).tolist()
    assert {label for label, abstained in found if abstained} == {"unknown"}
    refused = run_here("predict", onnx_file, photos[0], "--abstain", 0.01, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "the model has no threshold for 0.01" in refused.stderr


def test_using_an_onnx_file_imports_no_torch(onnx_file, photos):
    code = (
        "import sys; from imgclf.shipping import inference;"
        "[p] = inference.load(sys.argv[1]).predict([sys.argv[2]]); assert p.label, p;"
        "assert not {'torch', 'fastai', 'onnx'} & set(sys.modules)"
    )
    root = Path(inference.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, onnx_file, photos[0]], check=True, cwd=root)


def test_onnx_holds_its_weights_and_no_paths_of_this_machine(onnx_file, model):
    assert [p.name for p in onnx_file.parent.iterdir() if p.suffix != ".json"] == ["model.onnx"]
    content = onnx_file.read_bytes()
    assert len(content) > 40_000_000
    for place in (Path(torch.__file__).parent, Path(inference.__file__).parent, model):
        assert str(place).encode() not in content


def test_exporting_to_onnx_is_quiet(short, tmp_path, capfd, caplog):
    with warnings.catch_warnings(record=True) as said, caplog.at_level(logging.DEBUG):
        exporters.export(short, "onnx", tmp_path / "m.onnx")
    out = capfd.readouterr()
    assert (out.out, out.err, [str(w.message) for w in said]) == ("", "", [])
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command(model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageError, match=f"package {package}, which") as caught:
        exporters.export(model, "onnx", tmp_path / "m.onnx")
    assert caught.value.hint == 'pip install "imgclf[onnx]"' and caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_loading_onnx_without_onnxruntime_says_so(onnx_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PackageError, match="needs the package onnxruntime"):
        inference.load(onnx_file)


IN_FASTAI = """
import importlib.util, json, pathlib, sys
sys.modules["imgclf"] = None  # it may be installed in this environment; now it cannot be imported
assert importlib.util.find_spec("imgclf") is None
from fastai.learner import load_learner
learner = load_learner(sys.argv[1])
rows = []
for path in sys.argv[2:]:
    label, index, probs = learner.predict(path)
    rows.append([str(label), int(index), probs.tolist()])
assert not [name for name in sys.modules if name.startswith("imgclf.")]
pathlib.Path("answers.json").write_text(json.dumps({"vocab": list(learner.dls.vocab), "rows": rows}))
"""


def test_the_pickle_works_in_fastai_without_imgclf(pkl_file, model, photos, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", IN_FASTAI, pkl_file, *photos],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert tuple(answers["vocab"]) == CLASSES
    ours = list(inference.load(model).predict(photos, full_decode=True))
    np.testing.assert_allclose([probs for _, _, probs in answers["rows"]], [p.probs for p in ours], atol=1e-5)
    assert [label for label, _, _ in answers["rows"]] == [p.label for p in ours]


def pickled_names(file: Path) -> tuple[set[str], set[str]]:
    """What a torch pickle imports, and the other texts in it."""
    with zipfile.ZipFile(file) as archive:
        content = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    operations = list(pickletools.genops(content))
    texts = {a for o, a, _ in operations if isinstance(a, str) and o.name != "GLOBAL"}
    return {a for o, a, _ in operations if o.name == "GLOBAL"}, texts


def test_the_pickle_names_only_public_packages_and_no_places(pkl_file, model):
    imports, texts = pickled_names(pkl_file)
    roots = {name.split()[0].split(".")[0] for name in imports}
    assert not roots & {"imgclf", "__main__", "cloudpickle"}
    assert "pathlib PosixPath" not in imports and "pathlib WindowsPath" not in imports
    places = (str(model.parent), str(Path(torch.__file__).parents[1]), str(Path.cwd()))
    assert not [t for t in texts for place in places if place in t]


def test_the_pickles_answers_are_ordered_by_class_name(pkl_file, photos):
    usual, other = (pkl.probs(pkl_file, photos[:2], classes) for classes in (CLASSES, CLASSES[::-1]))
    assert np.array_equal(usual, other[:, ::-1])
    with pytest.raises(ExportError, match="other classes"):
        pkl.probs(pkl_file, photos[:1], ("a", "b", "c"))


def test_the_pickle_can_be_trained_on(pkl_file):
    from fastai.learner import load_learner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner = load_learner(pkl_file)
    assert learner.path == Path()
    learner.create_opt()
    learner.freeze()
    assert learner.opt.frozen_idx == 2  # three groups, as vision_learner makes them


def test_a_calibration_that_has_no_place_is_refused(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(ExportError, match="ReLU"):
        pkl._calibrate(net, 2.0)


def test_a_fastai_that_cannot_pickle_itself_says_so(model, tmp_path, monkeypatch):
    def refuse(self, obj):
        raise TypeError("cannot pickle '_thread.RLock' object")

    monkeypatch.setattr(pkl.ByName.Pickler, "reducer_override", refuse)
    with pytest.raises(ExportError, match="RLock") as caught:
        exporters.export(model, "pkl", tmp_path / "export.pkl")
    assert "--upgrade fastai" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_transparency_makes_the_pickle_fail_its_check(pkl_file, model, photos, tmp_path):
    """fastai drops transparency; the check must notice, not forgive."""
    glass = tmp_path / "glass.png"
    image = Image.open(photos[0]).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(glass)
    assert not verify.check(pkl_file, "pkl", model, [*photos, glass]).passed


def test_the_pickles_sidecar_says_what_full_decoding_changes(pkl_file, model, photos, tmp_path):
    large = tmp_path / "large.jpg"  # more than four times the model's size: decoding it may be cut short
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((800, 640)).save(large)
    assert verify.check(pkl_file, "pkl", model, [*photos, large]).passed
    effect = json.loads(verify.sidecar(pkl_file).read_text(encoding="utf-8"))["full_decode"]
    assert 1e-6 < effect["max_abs_diff"] < 1
    assert verify.verify_golden(pkl_file)["checked"] == ["sha256"]


def test_a_changed_onnx_file_is_noticed(short, photos, tmp_path):
    right = exporters.export(short, "onnx", tmp_path / "right.onnx")
    other = make_model(tmp_path / "other", temperature=5.0, cut=-4)
    file = exporters.export(other, "onnx", tmp_path / "model.onnx")
    result = verify.check(file, "onnx", short, photos)
    assert not result.passed
    assert verify.check(right, "onnx", short, photos).passed
    facts = json.loads(verify.sidecar(right).read_text(encoding="utf-8"))
    mine = json.loads(verify.sidecar(file).read_text(encoding="utf-8"))
    sidecar = {**facts, "sha256": mine["sha256"]}  # as if the right figures had been put beside the wrong file
    verify.sidecar(file).write_text(json.dumps(sidecar), encoding="utf-8")
    with pytest.raises(ExportError, match="other answers"):
        verify.verify_golden(file)
