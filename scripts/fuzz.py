"""Feed damaged and hostile files to everything that reads files, and see that it ends in an answer or a user's error.

    python scripts/fuzz.py [--cases 100000] [--target NAME …] [--seed 0] [--seconds 600] [--json FILE] [--keep FOLDER]

A finding is any exception that is not a mistake told to the user, a case that takes longer than 10 seconds, or one that
asks for more than 4 GB. Each case is a function of target, seed and number alone. Findings are kept in FOLDER with the
traceback; the exit code is then 1. A new target is a function that takes a `Case`, named in TARGETS. The tests run
a few cases of each (tests/unit/test_fuzz.py).
"""

import argparse
import contextlib
import copy
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]
FIXTURES = ROOT / "tests" / "data" / "bundles" / "v1"
MOST_SECONDS = 10
MOST_MEMORY = 4 << 30  # bytes of address space beyond what is in use
TOKENS = [
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
        b"\r\n",
        b"\n",
        b"\t",
        b"'",
        b'"',
        b"{",
        b"[",
        b",",
        b";",
        b":",
    ),
    *(b"- ", b"&a *a", b"!!python/object:os.system", b"..", b"/", b"nan", b"1e999", b"-1", b"9" * 30, b"0x10", b"true"),
    *(b"null", b"~", b"%", b"{{}}"),
]
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 1 << 31, 1 << 63, 10**30, -0.5, 1e308, float("nan"), float("inf")),
    *("", "nan", "a" * 500, "\0", "é", "../../x", "/etc/passwd", "C:\\x", "os:system", "\ud800"),
    *([], {}, [[]], [None], {"a": 1}, ["a", "a"], [1] * 50, {"layer": "Linear"}, {"layer": "Code"}),
]


@dataclass
class Case:
    """One trial: a source of chance, and an empty folder of its own."""

    random: random.Random
    folder: Path

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def damaged(self, data: bytes) -> bytes:
        """The bytes after one to four small accidents or attacks."""
        for _ in range(self.random.randint(1, 4)):
            data = self._accident(data)
        return data

    def _accident(self, data: bytes) -> bytes:
        pick, at = self.random.randrange(7), self.random.randint(0, len(data))
        end = min(len(data), at + self.random.choice((1, 2, 8, 100)))
        if pick == 0:
            return data[:at]
        if pick == 1:
            return data[:at] + data[end:]
        if pick == 2:
            return data[:end] + data[at:end] * self.random.choice((1, 3, 50)) + data[end:]
        if pick == 3:
            return data[:at] + self.random.choice(TOKENS) + data[at:]
        if pick == 4 and at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :]
        return data[:at] + self.random.randbytes(end - at) + data[end:]

    def changed(self, tree: Any) -> Any:
        """JSON with one to three of its values replaced, removed, doubled or nested deep."""
        tree = copy.deepcopy(tree)
        for _ in range(self.random.randint(1, 3)):
            tree = self._change(tree)
        return tree

    def _change(self, tree: Any) -> Any:
        if isinstance(tree, dict | list) and tree and self.random.random() < 0.85:
            key: Any = self.random.choice(list(tree)) if isinstance(tree, dict) else self.random.randrange(len(tree))
            pick = self.random.random()
            if pick < 0.1:
                del tree[key]
            elif pick < 0.15 and isinstance(tree, dict):
                tree[self.random.choice(("x", "layers", "schema", ""))] = copy.deepcopy(tree[key])
            elif pick < 0.2 and isinstance(tree, list):
                tree += copy.deepcopy(tree) * self.random.choice((1, 30))
            else:
                tree[key] = self._change(tree[key])
            return tree
        if self.random.random() < 0.05:
            return _nested(self.random.choice((3, 100, 5000)))
        if isinstance(tree, int | float) and self.random.random() < 0.3:
            return tree * self.random.choice((-1, 2, 1000, 0.5))
        return copy.deepcopy(self.random.choice(VALUES))


class Nested(str):
    """Text that stands for JSON too deep for Python's own writer."""


def _nested(depth: int) -> Any:
    return Nested("[" * depth + "]" * depth)


def _json(tree: Any) -> str:
    """As JSON; what is nested too deep is put in as text, and sometimes NaN is among it."""
    deep: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Nested):
            deep.append(str(value))
            return f"\1{len(deep) - 1}\1"
        if isinstance(value, dict):
            return {key: mark(v) for key, v in value.items()}
        return [mark(v) for v in value] if isinstance(value, list) else value

    text = json.dumps(mark(tree))
    for i, inner in enumerate(deep):
        text = text.replace(f'"\\u0001{i}\\u0001"', inner)
    return text


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

    value = _json(case.random.choice(VALUES)) if case.random.random() < 0.7 else case.damaged(b"0.5").decode("latin-1")
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
    with _either():
        changes.read(path)
    split.read_csv(path)


def record(case: Case) -> None:
    """The text of a model's record."""
    from imgclf.shipping.record import Record

    tree = case.changed(_weights(case.random.choice(("single", "multi")))[1])
    text = _json(tree)
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
    text = _json(case.changed(tree) if pick > 2 else tree)
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
    text = _json(case.changed(tree)).encode("utf-8", "surrogatepass")
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
    text = _json(case.changed(values))
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
    """The bytes of an image file."""
    from imgclf.data.images import decode
    from imgclf.data.inspection import UNREADABLE

    path = case.write("x.img", case.damaged(case.random.choice(_images())))
    with contextlib.suppress(*UNREADABLE):
        decode(path, at_least=case.random.choice((None, 32)))


@cache
def _images() -> list[bytes]:
    import io

    from PIL import Image

    made = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "JPEG2000"):
        stream = io.BytesIO()
        with contextlib.suppress(OSError, KeyError):  # Pillow may be built without it
            Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(stream, kind)
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


TARGETS: dict[str, Callable[[Case], None]] = {
    target.__name__: target
    for target in (
        config_yaml, config_set, table, split_csv, record, bundle_bytes, bundle_forged, sidecar, checkpoint, weights,
        image, onnx,
    )
}  # fmt: skip


@contextlib.contextmanager
def _either() -> Iterator[None]:
    """Go on after a user's error."""
    from imgclf.errors import UserError

    with contextlib.suppress(UserError):
        yield


def run_case(name: str, seed: int, number: int, keep: Path | None = None, most_seconds: float = MOST_SECONDS) -> str:
    """``answer``, ``refused``, or the traceback of a finding."""
    from imgclf.errors import UserError

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        case = Case(random.Random(f"{name}/{seed}/{number}"), Path(folder))
        try:
            with warnings.catch_warnings(), _timed(most_seconds):
                warnings.simplefilter("ignore")
                TARGETS[name](case)
            return "answer"
        except UserError as e:
            str(e).encode("utf-8", "surrogatepass")
            return "refused"
        except (Exception, SystemExit, RecursionError):
            if keep is not None:
                _keep(Path(folder), keep / f"{name}-{seed}-{number}")
            return traceback.format_exc()


def _keep(folder: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / "traceback.txt").write_text(traceback.format_exc())


@contextlib.contextmanager
def _timed(most: float) -> Iterator[None]:
    """An exception when it takes too long, where the system has alarms."""

    def late(*_: object) -> None:
        raise RuntimeError(f"took longer than {most} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


def run_target(name: str, seed: int, cases: int, seconds: float, keep: Path) -> dict[str, Any]:
    """So many cases of one target, or as many as the time allows."""
    counts = {"cases": 0, "answer": 0, "refused": 0, "findings": 0}
    start, seen = time.perf_counter(), set()
    for number in range(cases):
        if time.perf_counter() - start > seconds:
            break
        found = run_case(name, seed, number, keep)
        kind = found if found in ("answer", "refused") else "findings"
        counts[kind] += 1
        counts["cases"] += 1
        if kind == "findings" and (last := found.strip().splitlines()[-1][:200]) not in seen:
            seen.add(last)
            print(f"{name} {seed}/{number}: {last}", file=sys.stderr)
    return {"target": name, **counts, "seconds": round(time.perf_counter() - start, 1), "kinds": sorted(seen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=1000, help="of each target")
    parser.add_argument("--target", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="at most, for each target")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    asked = parser.parse_args()
    rows = []
    for name in asked.target:
        run_case(name, asked.seed, -1, most_seconds=600)  # imports take time and memory that no case asked for
    if sys.platform == "linux":
        _limit_memory()
    print(f"{'target':14} {'cases':>8} {'answer':>8} {'refused':>8} {'findings':>8} {'seconds':>8}")
    for name in asked.target:
        row = run_target(name, asked.seed, asked.cases, asked.seconds, asked.keep)
        rows.append(row)
        print(
            f"{name:14} " + " ".join(f"{row[k]:>8}" for k in ("cases", "answer", "refused", "findings", "seconds")),
            flush=True,
        )
    if asked.json:
        asked.json.write_text(json.dumps({"seed": asked.seed, "targets": rows}, indent=1) + "\n")
    sys.exit(any(row["findings"] for row in rows))


if __name__ == "__main__":
    main()
