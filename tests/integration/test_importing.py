"""Models of fastai, torchvision and timm become bundles with the same answers, or are refused with the reason."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import shapes
import support
import torch
from support import run_here
from torch import nn
from torchvision.models import resnet18

import imgclf
from imgclf.shipping import bundle

SIDE = 32


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with support.one_thread():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("photos"), per_class=4)


def several_labels(path):
    """Importable, as whoever loads the learner needs it."""
    return [path.parent.name, "shape"] if path.name < "2" else [path.parent.name]


def learner(photos, item, batch=None, several=False, **kwargs):
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        MultiCategoryBlock,
        get_image_files,
        parent_label,
        set_seed,
        vision_learner,
    )

    set_seed(0)
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock if several else CategoryBlock),
        get_items=get_image_files,
        get_y=several_labels if several else parent_label,
        item_tfms=item,
        batch_tfms=batch,
    )
    dls = block.dataloaders(photos, bs=4, num_workers=0)
    return vision_learner(dls, resnet18, pretrained=False, **kwargs)


def exported(learn, path: Path) -> Path:
    learn.export(path.absolute())
    return path


def from_files(learn, photos) -> tuple[list[Path], np.ndarray]:
    """What fastai answers, from file to probabilities."""
    paths = sorted(photos.rglob("*.png"))
    with learn.no_bar(), learn.no_logging():
        return paths, learn.get_preds(dl=learn.dls.test_dl(paths, num_workers=0))[0].numpy()


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory):
    """A learner trained for an epoch, and its file."""
    from fastai.vision.all import Normalize, Resize, imagenet_stats

    learn = learner(photos, Resize(SIDE), Normalize.from_stats(*imagenet_stats))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn, exported(learn, tmp_path_factory.mktemp("plain") / "export.pkl")


def test_a_fastai_learner_gives_its_answers_as_a_bundle(plain, photos, tmp_path):
    learn, file = plain
    done = run_here("import", file, "--trust", "--data", photos, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["arch"], found["task"]) == ("fastai learner", "resnet18", "single")
    assert found["classes"] == list(learn.dls.vocab) and found["parity"]["passed"]
    assert (found["preprocess"]["size"], found["preprocess"]["mean"]) == (SIDE, [0.485, 0.456, 0.406])
    paths, expected = from_files(learn, photos)
    model = imgclf.load(tmp_path / "imported" / "export")
    answers = np.stack([answer.probs for answer in model.predict(paths)])
    assert expected.std(0).max() > 1e-3
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    record = bundle.load(tmp_path / "imported" / "export")[1]
    assert record.training["imported"]["file"] == "export.pkl"
    assert str(photos) not in (tmp_path / "imported" / "export" / "model.json").read_text()


def test_a_pickle_is_refused_unless_trusted(plain, tmp_path):
    done = run_here("import", plain[1], "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 4 and "runs whatever code is in it" in error["message"] and "--trust" in error["hint"]
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten_and_a_learner_takes_no_classes(plain, tmp_path):
    done = run_here("import", plain[1], "--trust", "--out", tmp_path, cwd=tmp_path)
    assert done.returncode == 4 and "exists already" in done.stderr
    done = run_here("import", plain[1], "--trust", "--size", 64, cwd=tmp_path)
    assert done.returncode == 2 and "--size is for state dicts" in done.stderr


def test_an_imported_bundle_can_be_exported(plain, photos, tmp_path):
    assert run_here("import", plain[1], "--trust", "--out", "there", cwd=tmp_path).returncode == 0
    done = run_here("export", "there", "-f", "safetensors", "--data", photos, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [file] = json.loads(done.stdout)["files"]
    assert file["parity"]["n_images"] == 12 and file["accuracy"] is None
    done = run_here("export", "there", "-f", "safetensors", cwd=tmp_path)
    assert done.returncode == 4 and "--data FOLDER" in done.stderr


def test_a_learner_that_resizes_twice_is_taken_only_at_a_told_price(photos, tmp_path):
    from fastai.vision.all import Resize, aug_transforms

    learn = learner(photos, Resize(64, method="squish"), aug_transforms(size=SIDE, min_scale=0.75))
    exported(learn, tmp_path / "book.pkl")
    done = run_here("import", "book.pkl", "--trust", "--data", photos, cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "RandomResizedCropGPU to 32 px after a Resize" in done.stderr and "--resize-once" in done.stderr
    assert not list((tmp_path / "imported").iterdir())
    done = run_here("import", "book.pkl", "--trust", "--resize-once", "--json", cwd=tmp_path)
    assert done.returncode == 0 and "warning" in done.stderr
    found = json.loads(done.stdout)
    assert found["parity"]["passed"] and not found["pipeline"]["passed"]
    assert (found["preprocess"]["size"], found["preprocess"]["resize"]) == (SIDE, "squish")


def test_several_labels_an_image(photos, tmp_path):
    from fastai.losses import BCEWithLogitsLossFlat
    from fastai.vision.all import Resize

    learn = learner(photos, Resize(SIDE, method="pad"), several=True, loss_func=BCEWithLogitsLossFlat(thresh=0.4))
    exported(learn, tmp_path / "several.pkl")
    done = run_here("import", "several.pkl", "--trust", "--data", photos, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = imgclf.load(tmp_path / "imported" / "several")
    assert model.task == "multi" and model.thresholds == pytest.approx((0.4,) * len(model.classes))
    paths, expected = from_files(learn, photos)
    np.testing.assert_allclose([answer.probs for answer in model.predict(paths)], expected, atol=1e-4)


def changed(learn, change: str):
    from fastai.vision.all import Learner, Resize

    if change == "head":
        learn.model[1].append(nn.GELU())
    elif change == "whole":
        return Learner(learn.dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)))
    elif change == "body":
        learn.model[0][0] = nn.Conv2d(3, 64, 5, bias=False)
    elif change == "relu":
        learn.model[0][2] = nn.Identity()
    elif change == "loss":
        learn.loss_func = nn.MSELoss()
    elif change == "no size":
        learn.dls.valid.after_item.fs = [s for s in learn.dls.valid.after_item.fs if not isinstance(s, Resize)]
    return learn


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("head", 4, "the head holds a GELU"),
        ("whole", 4, "not a body and a head"),
        ("body", 4, "Sequential of Conv2d, BatchNorm2d, ReLU, MaxPool2d"),
        ("relu", 5, "prepares its images otherwise"),
        ("loss", 4, "loss is a MSELoss"),
        ("no size", 4, "no one size by a Resize"),
    ],
)
def test_what_a_bundle_cannot_hold_is_named(plain, tmp_path, change, code, said):
    from fastai.learner import load_learner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn = changed(load_learner(plain[1]), change)
        exported(learn, tmp_path / "odd.pkl")
    done = run_here("import", "odd.pkl", "--trust", cwd=tmp_path)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert not list(tmp_path.rglob("model.*"))
    if change == "relu":  # the same pixels do not help
        done = run_here("import", "odd.pkl", "--trust", "--resize-once", cwd=tmp_path)
        assert done.returncode == 5 and "answers differently" in done.stderr
        assert not list(tmp_path.rglob("model.*"))


@pytest.mark.parametrize("content", [b"", b"garbage", b"cos\nsystem\n(S'true'\ntR."])
def test_what_is_no_learner_is_refused(content, tmp_path):
    (tmp_path / "x.pkl").write_bytes(content)
    done = run_here("import", "x.pkl", "--trust", cwd=tmp_path)
    assert done.returncode == 4 and "fastai" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A random ResNet-18 whose BatchNorm has seen images."""
    torch.manual_seed(0)
    net = resnet18(weights=None, num_classes=3)
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, SIDE, SIDE))
    return net.eval()


def test_a_torchvision_state_dict(resnet, photos, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "weights.pth")
    (tmp_path / "names.txt").write_text("zebra\näpfel\n\ncat\n", encoding="utf-8")
    options = ("--classes", "names.txt", "--size", SIDE, "--data", photos, "--json")
    done = run_here("import", "weights.pth", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["arch"]) == ("torchvision state dict", "resnet18")
    model = imgclf.load(tmp_path / "imported" / "weights")
    assert model.classes == ("zebra", "äpfel", "cat")
    pixels = np.stack([model.preprocess.load(path) for path in sorted(photos.rglob("*.png"))])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        np.testing.assert_allclose(model.probs(pixels), resnet(x).softmax(1), atol=1e-4)


def test_a_checkpoint_may_name_its_classes(resnet, tmp_path):
    from argparse import Namespace

    state = {f"module.{name}": tensor for name, tensor in resnet.state_dict().items()}
    content = {"state_dict": state, "epoch": 3, "class_to_idx": {"b": 1, "a": 0, "c": 2}, "args": Namespace(lr=1)}
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    done = run_here("import", "checkpoint.pth.tar", "--size", SIDE, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == ["a", "b", "c"]


class Unsafe:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def refused(resnet, tmp_path, case: str) -> tuple[object, ...]:
    state = resnet.state_dict()
    extra: list[object] = ["--classes", "names.txt"]
    if case == "no names":
        extra = []
    elif case == "two names":
        (tmp_path / "names.txt").write_text("a\nb\n")
    elif case == "other classifier":
        state = {k.replace("fc.", "fc.1."): v for k, v in state.items()}
    elif case == "learner.save":
        state = {"model": {"0.0.weight": state["conv1.weight"]}}
        extra += ["--arch", "resnet18"]
    elif case == "unknown":
        state = {"stem.weight": state["conv1.weight"]}
    elif case == "unknown arch":
        extra += ["--arch", "resnet19"]
    elif case == "code":
        state = {**state, "x": Unsafe()}
    torch.save(state, tmp_path / "w.pth")
    return ("import", "w.pth", *extra)


@pytest.mark.parametrize(
    ("case", "code", "said"),
    [
        ("no names", 4, "does not name its classes"),
        ("two names", 4, "has [2, 512]"),
        ("other classifier", 4, "'fc.1.weight'"),
        ("learner.save", 4, "learner.export()"),
        ("unknown", 4, "'stem.weight'"),
        ("unknown arch", 2, "no architecture 'resnet19'"),
        ("code", 4, "cannot read the weights"),
    ],
)
def test_a_state_dict_that_does_not_fit_says_why(resnet, tmp_path, monkeypatch, case, code, said):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    done = run_here(*refused(resnet, tmp_path, case), cwd=tmp_path)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert not (tmp_path / "imported").exists() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("arch", ["convnext_atto", "mobilenetv3_small_050"])
def test_a_timm_state_dict(arch, tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    torch.save(timm.create_model(arch, num_classes=3).state_dict(), tmp_path / "w.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    done = run_here("import", "w.pth", "--arch", arch, "--classes", "names.txt", "--size", 64, "--json", cwd=tmp_path)
    if arch == "mobilenetv3_small_050":  # another layer after the pooling
        assert done.returncode == 4 and "layers between" in json.loads(done.stdout)["error"]["message"]
        return
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "timm state dict"
    assert [layer["layer"] for layer in bundle.load(tmp_path / "imported" / "w")[1].head][2:] == ["LayerNorm", "Linear"]
