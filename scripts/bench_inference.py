"""Using a model: a folder of photographs through `imgclf predict`, and the evaluation of labelled images.

    python scripts/bench_inference.py predict  [--arch resnet18] [--images 256] [--json FILE]
    python scripts/bench_inference.py evaluate [--arch resnet18] [--evaluated 1000] [--json FILE]

JPEGs of 500 x 375 pixels at 224, batches of 64, in turns:

`predict`: what `imgclf predict FOLDER --format csv` does once the model is loaded, with a bundle and with an ONNX file.
Beside it a bare loop, torch's `DataLoader` with as many workers that decode with the same function, the same network,
and the softmax; the same for onnxruntime; and what the book writes, `learn.predict(file)` file by file, over the first
32 files, in a process of its own.

`evaluate`: what `imgclf evaluate` does, decoding, answers and all figures, over EVALUATED images. Beside it a bare
PyTorch loop that decodes ahead in as many threads, and the network alone over batches (of the first 256 images) that
are decoded already: what is left when nothing has to be read.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from imgclf.cores import cores
from scripts import bench_train, benching
from scripts.benching import Figures

BATCH, ONE_BY_ONE, DECODED = 64, 32, 256
WORKERS = min(8, cores())  # as Predictor.predict


def model(folder: Path, arch: str, runs_dir: Path) -> Path:
    """The bundle of a learner that has trained nothing: its answers cost what any others do."""
    from imgclf import runs
    from imgclf.config import dump
    from imgclf.workflow import keeping

    s = bench_train.session(folder, arch, "fp32", None)
    run = runs.create(runs_dir, "run", dump(s.cfg), {"data_root": str(folder)})
    keeping.bundle_writer(run, s, 1e-3)(s.learn)
    return run.path


def commanded(predictor: Any, folder: Path, n: int) -> Figures:
    """`imgclf predict --format csv`, from the folder's name to the last row."""
    from imgclf.cli import rows
    from imgclf.cli.predict import Count
    from imgclf.console import Terminal
    from imgclf.shipping.sources import Sources

    found: Figures = {}
    with benching.timed(found, n), contextlib.redirect_stdout(io.StringIO()):
        terminal, sources, count = Terminal(quiet=True), Sources((str(folder),), None, False), Count()
        answers = count.over(predictor.predict(sources, BATCH), sources, terminal)
        rows.write(predictor, (answer.to_row(predictor.classes) for answer in answers), "csv", terminal)
    assert (count.all, count.bad) == (n, 0)
    return found


class Images:
    """Files as torch's ``DataLoader`` wants them, decoded as imgclf decodes."""

    def __init__(self, files: list[Path], preprocess: Any) -> None:
        self.files, self.preprocess = files, preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.array(self.preprocess.load(self.files[i]))


def bare(predictor: Any, files: list[Path], forward: Callable[[Any], Any]) -> Figures:
    from torch.utils.data import DataLoader

    found: Figures = {}
    with benching.timed(found, len(files)):
        loader: Any = DataLoader(Images(files, predictor.preprocess), BATCH, num_workers=WORKERS)  # type: ignore[arg-type]
        answers = [forward(batch) for batch in loader]
    assert sum(map(len, answers)) == len(files)
    return found


def torch_forward(path: Path) -> Callable[[Any], Any]:
    """A batch of bytes to probabilities, as one would write it."""
    import torch

    from imgclf.shipping import bundle

    network, record = bundle.load(path)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (record.preprocess.mean, record.preprocess.std))

    @torch.inference_mode()
    def forward(images: Any) -> Any:
        x = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return torch.softmax(network(x), 1)

    return forward


def onnx_forward(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probs"], {"image": images.numpy()})[0]


def one_by_one(learn: Any, files: list[Path]) -> Figures:
    found: Figures = {}
    with benching.timed(found, len(files)), learn.no_bar(), learn.no_logging():
        for path in files:
            learn.predict(path)
    return found


def predicting(options: argparse.Namespace, folder: Path, bundle: Path) -> dict[str, Any]:
    import torch

    from imgclf.shipping import inference
    from imgclf.shipping.exporters import onnx
    from imgclf.training import quicker

    exported = onnx.export(bundle, folder.parent / "model.onnx")
    files = sorted((folder / "val").rglob("*.jpg"))
    ours, graph = inference.load(bundle), inference.load(exported)
    plain, plain_onnx = torch_forward(bundle), onnx_forward(exported)
    learn = benching.Apart(bench_train.of_fastai, folder, options.arch, None)
    ways = {}
    if faster := quicker.faster(torch.device("cpu")):
        half = inference.load(bundle, precision=faster[0])
        ways[f"imgclf --precision {faster[0]}"] = lambda: commanded(half, folder / "val", len(files))
    rounds = benching.turns(
        {
            "learn.predict": lambda: learn(one_by_one, files[:ONE_BY_ONE]),
            "bare": lambda: bare(ours, files, plain),
            "imgclf": lambda: commanded(ours, folder / "val", len(files)),
            "bare ONNX": lambda: bare(ours, files, plain_onnx),
            "imgclf ONNX": lambda: commanded(graph, folder / "val", len(files)),
            **ways,
        },
        options.repeats,
        "images_per_second",
    )
    benching.table(rounds, "images_per_second", "processor_ms")
    goals = []
    for name, beside, least in (
        ("imgclf", "learn.predict", 3), ("imgclf", "bare", 0.9),
        ("imgclf ONNX", "learn.predict", 3), ("imgclf ONNX", "bare ONNX", 0.9),
        *((name, "learn.predict", 3) for name in ways),
    ):  # fmt: skip
        found = benching.ratios(rounds, "images_per_second", name, beside)
        goals.append(benching.goal(f"{name} over {beside}, images a second", found, at_least=least))
    found = benching.ratios(rounds, "processor_ms", "bare", "imgclf")
    goals.append(benching.goal("bare over imgclf, processor time", found, at_least=0.9))
    return {"rounds": rounds, "goals": goals}


def batches(preprocess: Any, files: list[Path]) -> Iterator[Any]:
    """Batches of bytes, the next one decoded while the last is used."""
    import torch

    parts = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [[pool.submit(preprocess.load, p) for p in part] for part in parts[:2]]
        for i in range(len(parts)):
            made = torch.from_numpy(np.stack([future.result() for future in waiting.pop(0)]))
            if i + 2 < len(parts):
                waiting.append([pool.submit(preprocess.load, p) for p in parts[i + 2]])
            yield made


def evaluating(options: argparse.Namespace, folder: Path, bundle: Path) -> dict[str, Any]:
    from imgclf.shipping import inference
    from imgclf.workflow import evaluate

    files = sorted((folder / "test").rglob("*.jpg"))
    predictor = inference.load(bundle)
    forward = torch_forward(bundle)
    few = files[:DECODED]
    decoded = list(batches(predictor.preprocess, few))

    def loop(made: Callable[[], Any], n: int) -> Figures:
        found: Figures = {}
        with benching.timed(found, n):
            for batch in made():
                forward(batch)
        return found

    def judged() -> Figures:
        found: Figures = {}
        with benching.timed(found, len(files)):
            evaluate.evaluate(bundle, data=str(folder / "test"), device="cpu", batch_size=BATCH)
        return found

    rounds = benching.turns(
        {
            "network alone": lambda: loop(lambda: decoded, len(few)),
            "bare": lambda: loop(lambda: batches(predictor.preprocess, files), len(files)),
            "imgclf evaluate": judged,
        },
        options.repeats,
        "images_per_second",
        warm_up=0,  # each turn is long
    )
    benching.table(rounds, "images_per_second", "processor_ms")
    goals = []
    for key, over, under in (("images_per_second", 1, 0), ("processor_ms", 0, 1)):
        for beside in ("bare", "network alone"):
            pair = ("imgclf evaluate", beside)
            found = benching.ratios(rounds, key, pair[over], pair[under])
            goals.append(
                benching.goal(f"evaluating {len(files)} images beside {beside}, by {key}", found, at_most=1.15)
            )
    return {"rounds": rounds, "goals": goals}


def main() -> None:
    parser = benching.parser(__doc__)
    parser.add_argument("part", choices=["predict", "evaluate"])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--evaluated", type=int, default=1000)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="bench-inference-") as name:
        counts = {"train": 32, "val": 32}
        counts |= {"test": options.evaluated} if options.part == "evaluate" else {"val": options.images}
        folder = benching.photos(Path(name) / "photos", counts, None)
        bundle = model(folder, options.arch, Path(name) / "runs")
        measure = evaluating if options.part == "evaluate" else predicting
        benching.write(options, **measure(options, folder, bundle))


if __name__ == "__main__":
    main()
