"""What the benchmark scripts share: turns, ratios, photographs to read, the machine, the JSON.

Ways of doing the same are timed in turns, so that a machine that slows down slows all of them, and compared within each
turn. Beside seconds stand those of the processors in all processes together, which other programs change least.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Figures = dict[str, float]
Round = dict[str, Figures]
PACKAGES = ("torch", "torchvision", "fastai", "timm", "numpy", "pillow", "onnxruntime")
LAYERS = ((3, 0.5), (7, 0.3), (20, 0.2))  # cells a side, and share: like a photograph, coarse and fine structure
GRAIN = 14  # of an image of 500 x 375 pixels, which then has about the bytes of a photograph
SUFFIXES = (".jpg", ".jpeg", ".png")
PRIVATE = ("Pss_Anon:", "Pss_Shmem:")  # lines of Linux's smaps_rollup
SAMPLE_SECONDS = 0.5  # between two looks at the memory of a process and its children


def parser(doc: str | None, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser with the options every script has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help="turns that count, after one to warm up")
    made.add_argument("--json", type=Path, help="write everything measured, with versions and hardware")
    return made


def processor() -> float:
    """Seconds that processors have worked for this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def timed(into: Figures, n: int) -> Iterator[None]:
    """Put what ``n`` images inside the block took into ``into``."""
    started, busy = time.perf_counter(), processor()
    yield
    into |= rates(time.perf_counter() - started, processor() - busy, n)


def rates(seconds: float, busy: float, n: int) -> Figures:
    """Images a second, and milliseconds of processor time an image."""
    return {"seconds": seconds, "images_per_second": n / seconds, "processor_ms": 1000 * busy / n}


def turns(ways: Mapping[str, Callable[[], Figures]], repeats: int, key: str, warm_up: int = 1) -> list[Round]:
    """Call every way in turns and keep the figures of all turns but the first ``warm_up``.

    Args:
        key: The figure to show while measuring.
    """
    rounds = []
    for turn in range(repeats + warm_up):
        rounds.append({name: way() for name, way in ways.items()})
        shown = ", ".join(f"{name} {figures[key]:.4g}" for name, figures in rounds[-1].items())
        print(
            f"{'warming up' if turn < warm_up else f'turn {turn - warm_up + 1}'}: {shown}", file=sys.stderr, flush=True
        )
    return rounds[warm_up:]


class Apart:
    """One way in a process of its own: what another sets for its process, such as how memory is kept, is not its.

    Args:
        build: A function of a module, called there at once with ``args``.
    """

    made: Any = None  # in that process: what ``build`` returned

    def __init__(self, build: Callable[..., Any], *args: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, spawn, _build, (build, args))

    def __call__(self, measure: Callable[..., Figures], *args: Any) -> Figures:
        """``measure(made, *args)`` there."""
        return self.pool.submit(_measure, measure, args).result()


def _build(build: Callable[..., Any], args: tuple[Any, ...]) -> None:
    warnings.filterwarnings("ignore")
    multiprocessing.set_start_method(None, force=True)  # as anywhere else: a spawned process would spawn its own too
    Apart.made = build(*args)


def _measure(measure: Callable[..., Figures], args: tuple[Any, ...]) -> Figures:
    return measure(Apart.made, *args)


def values(rounds: Iterable[Round], name: str, key: str) -> list[float]:
    return [figures[name][key] for figures in rounds]


def ratios(rounds: Iterable[Round], key: str, over: str, under: str) -> list[float]:
    """``over`` divided by ``under``, within each turn."""
    return [figures[over][key] / figures[under][key] for figures in rounds]


def spread(found: list[float], digits: int = 2) -> str:
    """Median, and from the least to the most."""
    return f"{statistics.median(found):.{digits}f} ({min(found):.{digits}f} to {max(found):.{digits}f})"


def table(rounds: list[Round], *keys: str) -> None:
    """Print median, least and most of some figures of every way."""
    width = max(map(len, rounds[0]))
    for name in rounds[0]:
        cells = [f"{key} {spread(values(rounds, name, key))}" for key in keys if key in rounds[0][name]]
        print(f"{name:{width}}  " + "   ".join(cells))


def goal(what: str, found: list[float], at_least: float | None = None, at_most: float | None = None) -> dict[str, Any]:
    """Print a ratio beside its goal; returns both, for the JSON."""
    median = statistics.median(found)
    held = (at_least is None or median >= at_least) and (at_most is None or median <= at_most)
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    print(f"{what}: {spread(found)}; goal {wanted}: {'reached' if held else 'NOT REACHED'}", flush=True)
    return {"what": what, "median": median, "least": min(found), "most": max(found), "goal": wanted, "reached": held}


def write(options: argparse.Namespace, **facts: Any) -> None:
    """Write the JSON file that was asked for."""
    if options.json:
        text = json.dumps({"options": vars(options), "machine": machine(), **facts}, indent=1, default=str)
        options.json.write_text(text + "\n")


def machine() -> dict[str, Any]:
    """Versions, hardware, date, and how busy the machine is."""
    return {
        "date": datetime.now().isoformat(timespec="minutes"), "cpus": os.cpu_count(), "machine": platform.machine(),
        "processor": next(
            (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
            platform.processor(),
        ),
        "gpu": _gpu(), "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "python": platform.python_version(), **{name: version(name) for name in PACKAGES},
    }  # fmt: skip


def _gpu() -> str | None:
    """The name of the first, where this process has used torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def picture(seed: int, size: tuple[int, int], grain: int = 0) -> Image.Image:
    """Something like a photograph; ``grain`` decides how many bytes it takes as a JPEG."""
    random = np.random.default_rng(seed)
    made = random.uniform(-grain, grain, (size[1], size[0], 3)) if grain else np.zeros((size[1], size[0], 3))
    for cells, share in LAYERS:
        layer = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        made += share * np.asarray(layer.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(made.clip(0, 255).astype(np.uint8))


def photos(folder: Path, counts: Mapping[str, int], source: Path | None, size: tuple[int, int] = (500, 375)) -> Path:
    """A folder with a part for each of ``counts``, each with class folders and so many images in all.

    Args:
        source: A folder with the same parts to take photographs from, in turns from each class; None: make some.
    """
    for number, (part, n) in enumerate(counts.items()):
        names = sorted(p.name for p in (source / part).iterdir() if p.is_dir()) if source else ["a", "b"]
        known = {name: _photos_in(source / part / name) for name in names} if source else {}
        for i in range(n):
            name = names[i % len(names)]
            target = folder / part / name / f"{i:05d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            if source:
                target.write_bytes(known[name][i // len(names) % len(known[name])].read_bytes())
            else:
                picture(100_000 * number + i, size, GRAIN).save(target, quality=90)
    return folder


def _photos_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def run(command: list[Any], env: Mapping[str, str] | None = None, timeout: float | None = None) -> Figures:
    """A program of its own, to its end: seconds, processor seconds and peak memory (MB), its own and its children's.

    On Linux memory is what all its processes hold together without the code of libraries, what they share counted once;
    elsewhere that of the largest of them.

    Raises:
        RuntimeError: with the last lines it wrote, if it fails.
    """
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        list(map(str, command)), env={**os.environ, **(env or {})}, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    peak = Peak(process.pid)
    try:
        output, _ = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        raise
    finally:
        most = peak.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError("\n".join([f"{command[0]} ended with {process.returncode}:", *output.splitlines()[-12:]]))
    told = [json.loads(line) for line in output.splitlines()[-1:] if line.startswith("{")]
    return {
        "seconds": time.perf_counter() - started,
        "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory_mb": most / 2**20 if most else most_mb(resource.RUSAGE_CHILDREN),
        **(told[0] if told else {}),
    }


def most_mb(who: int = resource.RUSAGE_SELF) -> float:
    """The most memory this process has held, MB; or the largest of its finished children."""
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class Peak:
    """Look at the memory of a process and all it has started, again and again, and keep the most."""

    def __init__(self, pid: int) -> None:
        self.most, self.pid, self.over = 0, pid, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        """The most bytes seen; 0 where nothing could be seen."""
        self.over.set()
        self.thread.join()
        return self.most

    def _watch(self) -> None:
        while not self.over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, sum(_share(pid) for pid in _family(self.pid)))


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found  # gone since
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        found += [one for child in children for one in _family(int(child))]
    return found


def _share(pid: int) -> int:
    """Bytes a process has written for itself, of what it shares with its children its part: no code of libraries."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(PRIVATE))
