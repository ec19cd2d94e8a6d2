"""Targets: files that are read, one each."""

import contextlib
import json
import struct
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from scripts.fuzzing.cases import VALUES, Case, as_json

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "data" / "bundles" / "v1"


@cache
def _fixture(name: str) -> Path:
    return FIXTURES / name


@cache
def _weights(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from imgclf.shipping import bundle

    state, record = bundle.read(_fixture(name))
    return state, record.to_dict()


def config_yaml(case: Case) -> None:
    """A configuration file."""
    from imgclf import config
    from imgclf.starter import starter

    names = sorted(config.embedded())
    name = case.random.choice(["", *names])
    text = config.embedded()[name].read_bytes() if name else starter("photos").encode()
    config.load(str(case.write("c.yaml", case.damaged(text))))


def config_set(case: Case) -> None:
    """``--set KEY=VALUE`` on the command line."""
    from imgclf import config
    from imgclf.schema import leaves

    value = (
        as_json(case.random.choice(VALUES)) if case.random.random() < 0.7 else case.damaged(b"0.5").decode("latin-1")
    )
    text = f"{case.random.choice(list(leaves()))}={value}"
    if case.random.random() < 0.2:
        text = case.damaged(text.encode("utf-8", "replace")).decode("latin-1")
    config.load("digits", [config.parse_set(text)])


def table(case: Case) -> None:
    """A CSV of labels beside its images."""
    from imgclf import config
    from imgclf.data import scan

    rows = b"image,label,valid\n" + b"".join(b"%d.png,%s,%s\n" % (i, b"ab"[i % 2 :][:1], b"no") for i in range(6))
    for i in range(6):
        case.write(f"{i}.png", b"")
    path = case.write("labels.csv", case.damaged(rows))
    scan.scan(config.load(None, [config.Override("data.path", str(path), "fuzz")]).config)


def split_csv(case: Case) -> None:
    """The ``split.csv`` of a run."""
    from imgclf.data import changes, split

    path = case.write(
        "split.csv", case.damaged(b"path,label,split,size,hash\na/1.png,a,train,3,00\nb/2.png,b,valid,,\n")
    )
    with either():
        changes.read(path)
    split.read_csv(path)


def corrections(case: Case) -> None:
    """Corrections laid over labels."""
    from imgclf.data.corrections import apply
    from imgclf.data.samples import Sample, Samples

    several = case.random.random() < 0.5
    items = tuple(Sample(f"{'ab'[i % 2]}/{i}.png", ("ab"[i % 2],)) for i in range(4))
    text = b"path,action,label\na/0.png,relabel,b\nb/1.png,drop,\na/2.png,relabel,a;b\n"
    apply(case.write("corrections.csv", case.damaged(text)), Samples(case.folder, items, "x", (), several))


def record(case: Case) -> None:
    """The text of a model's record."""
    from imgclf.shipping.record import Record

    tree = case.changed(_weights(case.random.choice(("single", "multi")))[1])
    text = as_json(tree)
    if case.random.random() < 0.3:
        text = case.damaged(text.encode("utf-8", "replace")).decode("latin-1")
    Record.from_json(text)


def bundle_bytes(case: Case) -> None:
    """A bundle whose files were damaged."""
    from imgclf.shipping import inference

    source = _fixture(case.random.choice(("single", "multi")))
    for name in ("model.safetensors", "model.json"):
        data = (source / name).read_bytes()
        near = case.random.random() < 0.5 and name.endswith("safetensors")
        harmed = case.damaged(data[:3000]) + data[3000:] if near else case.damaged(data)
        case.write(name, harmed if case.random.random() < 0.7 else data)
    inference.load(case.folder if case.random.random() < 0.5 else case.folder / "model.safetensors")


def bundle_forged(case: Case) -> None:
    """A weights file made on purpose: its hash is right, its record, tensors or header are not."""
    import safetensors.torch
    import torch

    from imgclf.shipping import bundle, inference

    state, tree = _weights(case.random.choice(("single", "multi")))
    state = dict(state)
    name = case.random.choice(list(state))
    pick = case.random.randrange(6)
    if pick == 0:
        state[name] = torch.full_like(state[name], case.random.choice((0, -1)))
    elif pick == 1:
        state[name] = torch.zeros(case.random.choice(((), (0,), (1,), (7, 3), (1, 1, 1, 1, 1))))
    elif pick == 2:
        state[case.random.choice(("x", "0.0.weight2", "../x", ""))] = state.pop(name)
    elif pick == 3:
        state[name] = state[name].to(case.random.choice((torch.float32, torch.float64, torch.int64, torch.uint8)))
    text = as_json(case.changed(tree) if pick > 2 else tree)
    facts = {"imgclf": text, "sha256": bundle._fingerprint(text, state)}
    try:
        data = safetensors.torch.save(state, metadata=facts)
    except Exception:  # what cannot be written cannot be sent
        return
    if case.random.random() < 0.2:
        length = struct.unpack("<Q", data[:8])[0]
        header = json.dumps(case.changed(json.loads(data[8 : 8 + length]))).encode()
        data = struct.pack("<Q", len(header)) + header + data[8 + length :]
    inference.load(case.write("model.safetensors", data))


def sidecar(case: Case) -> None:
    """The record beside an export, with its golden images."""
    import hashlib

    from imgclf.shipping import verify

    data = (_fixture("single") / "model.safetensors").read_bytes()
    file = case.write("model.safetensors", data)
    answers = json.loads((_fixture("single") / "answers.json").read_text(encoding="utf-8"))
    probs = [answers[0]["probs"][name] for name in _weights("single")[1]["classes"]]
    tree = {
        "format": "safetensors", "sha256": hashlib.sha256(data).hexdigest(), "passed": True,
        "golden": {"images": [{"png": _golden(), "probs": probs}] * 2},
    }  # fmt: skip
    text = as_json(case.changed(tree)).encode("utf-8", "surrogatepass")
    verify.sidecar(file).write_bytes(case.damaged(text) if case.random.random() < 0.3 else text)
    verify.verify_golden(file)


@cache
def _golden() -> str:
    import base64
    import io

    from PIL import Image

    from imgclf.shipping.record import preprocess_from

    pixels = preprocess_from(_weights("single")[1]["preprocess"]).load(_fixture("single") / "0.png")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def checkpoint(case: Case) -> None:
    """``last.ckpt``, damaged or made on purpose."""
    import torch
    from safetensors.torch import save

    from imgclf.training import checkpoint as checkpoints

    tensors = {"0": torch.zeros(2)}
    values = {
        "place": {"phase": "frozen", "epoch": 1}, "lr": 0.1, "phases": [], "fingerprint": "x", "best": None, "rows": [],
        "state": {"a": {checkpoints.TENSOR: "0"}},
    }  # fmt: skip
    text = as_json(case.changed(values))
    facts = {
        "imgclf_checkpoint": str(checkpoints.VERSION),
        "values": text,
        "sha256": checkpoints._digest(text, tensors),
    }
    data = save(tensors, metadata=facts)
    path = case.write("last.ckpt", case.damaged(data) if case.random.random() < 0.5 else data)
    checkpoints.load(path, torch.device("cpu"))


def weights(case: Case) -> None:
    """A state dict of somebody else's."""
    from imgclf.training import weights as weight_files

    weight_files.read(case.write("w.pth", case.damaged(_state_dict())))


@cache
def _state_dict() -> bytes:
    import io

    import torch

    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(2, 3), "epoch": 3}, stream)
    return stream.getvalue()


def image(case: Case) -> None:
    """The bytes of an image file, as training, the check and the server read it."""
    from imgclf.data.images import decode, decode_stranger
    from imgclf.data.inspection import UNREADABLE, inspect_file

    data = case.damaged(case.random.choice(_images()))
    path = case.write(case.random.choice(("x.jpg", "x.tif", "x.tga")), data)
    way = case.random.randrange(3)
    if way == 0:
        inspect_file(path)
    with contextlib.suppress(*UNREADABLE):
        if way == 1:
            decode(path, at_least=case.random.choice((None, 32)))
        elif way == 2:
            decode_stranger(data, 32, 1_000_000)


@cache
def _images() -> list[bytes]:
    import io

    from PIL import Image

    made = []
    shades = Image.linear_gradient("L").resize((40, 30))
    kinds = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "JPEG2000", "AVIF", "MPO", "ICO", "PCX", "EPS")
    for kind in kinds:
        for mode in ("RGB", "P", "LA", "I;16", "CMYK"):
            stream = io.BytesIO()
            with contextlib.suppress(OSError, KeyError, ValueError):  # not of this mode, or Pillow is built without it
                shades.convert(mode).save(stream, kind, save_all=True)
                made.append(stream.getvalue())
    return made


def onnx(case: Case) -> None:
    """An ONNX file."""
    from imgclf.shipping import inference

    inference.load(case.write("m.onnx", case.damaged(_onnx())))


@cache
def _onnx() -> bytes:
    from imgclf.shipping import exporters

    with tempfile.TemporaryDirectory() as folder:
        return exporters.export(_fixture("multi"), "onnx", Path(folder, "m.onnx")).read_bytes()


@contextlib.contextmanager
def either() -> Iterator[None]:
    """Go on after a user's error."""
    from imgclf.errors import UserError

    with contextlib.suppress(UserError):
        yield


TARGETS = (
    config_yaml, config_set, table, split_csv, corrections, record, bundle_bytes, bundle_forged, sidecar, checkpoint,
    weights, image, onnx,
)  # fmt: skip
