"""How long the data check takes, and how much memory, as the number of images grows.

    python scripts/bench_check.py [--sizes 1000 10000] [--side 128] [--workers] [--json FILE]

Makes JPEG images of SIDE x SIDE pixels in a temporary folder, every fiftieth of them saved a second time at another
quality, and checks them in a process of its own: once with an empty cache, once again. Prints seconds, those of the
processor (which a busy machine changes less), images a second, seconds spent on comparing, seconds of the second check,
the process's peak memory, the size of the cache, how many of the planted pairs were found and how many others, and how
the largest compares with the smallest. `--workers` compares threads with processes instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts import benching

PLANTED_EVERY = 50


def make(folder: Path, n: int, side: int) -> None:
    """``n`` images in two classes; those after every ``PLANTED_EVERY``-th are its copies."""
    for name in "ab":
        (folder / name).mkdir(parents=True)
    for i in range(n):
        copy = i % PLANTED_EVERY == 1
        benching.picture(i - copy, (side, side)).save(folder / "ab"[i % 2] / f"{i:06d}.jpg", quality=60 if copy else 90)


def check(folder: Path) -> dict[str, Any]:
    """One check in this process: what `imgclf data check` does before it reports."""
    from imgclf.data import alike, survey
    from imgclf.data.samples import Sample

    items = [Sample(p.relative_to(folder).as_posix(), (p.parent.name,)) for p in sorted(folder.rglob("*.jpg"))]
    started, processor = time.perf_counter(), time.process_time()
    looked_at = survey.inspect(folder, items)
    seen = time.perf_counter()
    found = alike.find(folder, looked_at)
    done, processor = time.perf_counter(), time.process_time() - processor
    numbers = [sorted(int(Path(found.pictures[i][0]).stem) for i in pair) for pair in found.near.tolist()]
    right = sum(b - a == 1 and a % PLANTED_EVERY == 0 for a, b in numbers)
    return {
        "seconds": done - started, "processor": processor, "comparing": done - seen,
        "found": right, "false": len(numbers) - right,
        "memory_mb": benching.most_mb(),
    }  # fmt: skip


def measure(n: int, side: int) -> dict[str, Any]:
    """The first and the second check of ``n`` images, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-check-") as name:
        folder = Path(name) / "images"
        make(folder, n, side)
        env = {**os.environ, "IMGCLF_CACHE": str(Path(name) / "cache")}
        command = [sys.executable, __file__, "--child", str(folder)]
        runs = [subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)]
        cache = sum(p.stat().st_size for p in (Path(name) / "cache").iterdir())
    first, second = map(json.loads, runs)
    return {
        "images": n, "images_per_second": n / first["seconds"],
        "planted": sum(i % PLANTED_EVERY == 1 for i in range(n)),
        **first, "second_time": second["seconds"], "cache_mb": cache / 2**20,
    }  # fmt: skip


def compare_workers(n: int, side: int) -> None:
    """Threads beside processes."""
    from imgclf.data.inspection import inspect_file

    with tempfile.TemporaryDirectory(prefix="bench-check-") as name:
        make(Path(name) / "images", n, side)
        files = sorted(Path(name).rglob("*.jpg"))
        pools: list[tuple[Any, int]] = [(ThreadPoolExecutor, 1)]
        pools += [
            (kind, w) for w in sorted({2, os.cpu_count() or 1}) for kind in (ThreadPoolExecutor, ProcessPoolExecutor)
        ]
        for kind, workers in pools:
            started = time.perf_counter()
            with kind(workers) as pool:
                chunk = {"chunksize": 64} if kind is ProcessPoolExecutor else {}
                list(pool.map(inspect_file, files, **chunk))
            seconds = time.perf_counter() - started
            print(f"{kind.__name__:20} {workers:3} workers  {seconds:6.2f} s  {n / seconds:7.0f} images/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(check(options.child)))
        return
    if options.workers:
        compare_workers(options.sizes[0], options.side)
        return
    rows = [measure(n, options.side) for n in options.sizes]
    heads = ("images", "s", "processor s", "images/s", "comparing s", "again s", "MB", "cache MB")
    print("  ".join(heads) + "  pairs found")
    for row in rows:
        keys = ("seconds", "processor", "images_per_second", "comparing", "second_time", "memory_mb", "cache_mb")
        cells = [str(row["images"]), *(f"{row[k]:.0f}" if row[k] >= 50 else f"{row[k]:.2f}" for k in keys)]
        line = "  ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        print(f"{line}  {row['found']} of {row['planted']}, {row['false']} others")
    small, large = rows[0], rows[-1]
    wall, work = (large[k] / small[k] for k in ("seconds", "processor"))
    more = large["images"] / small["images"]
    print(f"{more:.1f} times the images: {wall:.1f} times the seconds, {work:.1f} times the processor's")
    if options.json:
        options.json.write_text(
            json.dumps({"side": options.side, "cpus": os.cpu_count(), "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
