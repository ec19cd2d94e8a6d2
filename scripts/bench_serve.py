"""`imgclf serve` under load on this machine, beside the same model without a server.

    python scripts/bench_serve.py [--model RUN] [--requests 5000] [--clients 8] [--json FILE]

A server in a process of its own gets so many requests from so many clients at once, each on a connection it keeps, one
small JPEG each, by turns as a form and as a raw body. Every answer is compared with that of the predictor. Beside it:
the bare model on pixels that are ready, and the predictor from the same files, both in batches of 32, before and after,
and their mean. Without --model an untrained ResNet-18 at 64 pixels answers. Clients and server share the processors.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching

FILES = 200
BATCH = 32
CLOSE = 1e-4  # a batch of another size sums in another order
BOUNDARY = "imgclf-bench"


def untrained(folder: Path) -> Path:
    """A bundle of random weights: fast, and as good as any for this."""
    import torch
    from fastai.vision.learner import create_head
    from torch import nn
    from torchvision.models import resnet18

    from imgclf.data.images import Preprocess
    from imgclf.shipping import bundle, layers

    torch.manual_seed(0)
    net = nn.Sequential(nn.Sequential(*list(resnet18(weights=None).children())[:-2]), create_head(512, 10)).eval()
    classes = tuple(f"class {i}" for i in range(10))
    bundle.save(
        folder, net.state_dict(), bundle.Record(classes, Preprocess(size=64), "resnet18", layers.describe(net[1]))
    )
    return folder


def bare(predictor: Any, paths: list[Path], n: int) -> tuple[benching.Round, list[Any]]:
    """Images a second of the model alone and of the predictor from files; and the answers to expect."""
    expected = list(predictor.predict(paths, BATCH))
    pixels = np.stack([predictor.preprocess.load(path) for path in paths])
    model: benching.Figures = {}
    files: benching.Figures = {}
    with benching.timed(model, n):
        for i in range(0, n, BATCH):
            predictor.probs(np.take(pixels, range(i, min(i + BATCH, n)), axis=0, mode="wrap"))
    with benching.timed(files, n):
        for _ in predictor.predict((paths[i % len(paths)] for i in range(n)), BATCH):
            pass
    return {"model alone": model, "predictor, from files": files}, expected


class Client(threading.Thread):
    """Takes the next number until there are none, and sends that request on one connection."""

    def __init__(self, url: str, bodies: list[bytes], expected: list[Any], numbers: Any, n: int) -> None:
        super().__init__(daemon=True)
        where = urlsplit(url)
        self.connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        self.bodies, self.expected, self.numbers, self.n = bodies, expected, numbers, n
        self.seconds: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        while (i := next(self.numbers)) < self.n:
            started = time.perf_counter()
            try:
                self._ask(i)
            except (OSError, http.client.HTTPException, KeyError, ValueError) as e:
                self.failed.append(f"{type(e).__name__}: {e}")
                self.connection.close()
            self.seconds.append(time.perf_counter() - started)

    def _ask(self, i: int) -> None:
        data, wanted = self.bodies[i % len(self.bodies)], self.expected[i % len(self.expected)]
        kind = "image/jpeg"
        if i % 2:
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{i}.jpg"\r\n\r\n'
            data = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
            kind = f"multipart/form-data; boundary={BOUNDARY}"
        self.connection.request("POST", "/predict", data, {"Content-Type": kind})
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {body}")
        row = body["predictions"][0]
        if row["label"] != wanted.label or abs(row["prob"] - wanted.prob) > CLOSE:
            raise ValueError(f"{row['label']} {row['prob']} instead of {wanted.label} {wanted.prob}")


def served(model: Path, paths: list[Path], expected: list[Any], n: int, clients: int) -> dict[str, Any]:
    """Start the server, load it, stop it."""
    command = [sys.executable, "-m", "imgclf", "serve", str(model), "--port", "0", "--json", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            bodies = [path.read_bytes() for path in paths]
            _load(url, bodies, expected, 10 * clients, clients)  # to warm up
            before = _health(url)
            found = _load(url, bodies, expected, n, clients)
            after = _health(url)
        finally:
            process.terminate()
        code = process.wait(60)
    batches = after["batches"] - before["batches"]
    return {**found, "images_per_batch": n / max(1, batches), "exit_code": code}


def _load(url: str, bodies: list[bytes], expected: list[Any], n: int, clients: int) -> dict[str, Any]:
    numbers = count()
    threads = [Client(url, bodies, expected, numbers, n) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    times = 1000 * np.array([s for thread in threads for s in thread.seconds])
    failed = [why for thread in threads for why in thread.failed]
    shares = {f"p{p}_ms": float(np.percentile(times, p)) for p in (50, 95, 99)}
    return {"requests": len(times), "images_per_second": len(times) / seconds, **shares, "failed": failed}


def _health(url: str) -> Any:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
    connection.request("GET", "/health")
    return json.loads(connection.getresponse().read())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a run or bundle folder, or an exported file")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--side", type=int, default=96, help="of the JPEGs, pixels")
    parser.add_argument("--json", type=Path, help="write everything measured, with versions and hardware")
    options = parser.parse_args()
    from imgclf.shipping import inference

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{i}.jpg" for i in range(FILES)]
        for i, path in enumerate(paths):
            benching.picture(i, (options.side, options.side)).save(path, quality=85)
        model = options.model or untrained(folder / "model")
        predictor, n = inference.load(model), min(1000, options.requests)
        before, expected = bare(predictor, paths, n)
        found = served(model, paths, expected, options.requests, options.clients)
        after, _ = bare(predictor, paths, n)
    rounds = {way: {key: (value + after[way][key]) / 2 for key, value in one.items()} for way, one in before.items()}
    for way, figures in rounds.items():
        print(f"{way:24} {figures['images_per_second']:8.1f} images/s")
    print(f"{'served':24} {found['images_per_second']:8.1f} images/s, {found['images_per_batch']:.1f} in a batch")
    print(f"p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")
    print(f"{len(found['failed'])} of {found['requests']} requests failed {found['failed'][:3] or ''}")
    shares = {way: found["images_per_second"] / figures["images_per_second"] for way, figures in rounds.items()}
    print(", ".join(f"{share:.2f} of the {way}" for way, share in shares.items()))
    benching.write(options, bare=rounds, served=found, shares=shares)
    return 1 if found["failed"] or found["exit_code"] else 0


if __name__ == "__main__":
    sys.exit(main())
