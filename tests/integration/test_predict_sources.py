"""`imgclf predict` on everything it takes, and thousands of images in constant memory."""

import csv
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from functools import partial
from types import SimpleNamespace

import pytest
from serving import colours, colours_onnx
from support import ROOT, make_files, run_here

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    colours_onnx(folder / "model.onnx")
    make_files(folder / "photos", "a/1.png", "a/2.jpg", "b/3.png")
    (folder / "bad.jpg").write_text("no image")
    return folder


def predict(work, *arguments):
    return run_here("predict", "model.onnx", *arguments, cwd=work)


def test_files_folders_patterns_and_a_list(work, monkeypatch):
    stdin = SimpleNamespace(buffer=io.BytesIO(b"photos/b\nnot there.png\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    done = predict(work, "photos/a", "photos/*/1.png", "bad.jpg", "-", "--json")
    assert done.returncode == 3
    rows = done.json["predictions"]
    assert [row["path"] for row in rows] == [
        "photos/a/1.png", "photos/a/2.jpg", "photos/a/1.png", "bad.jpg", "photos/b/3.png", "not there.png"
    ]  # fmt: skip
    assert {row["path"]: row["error"] for row in rows if "error" in row} == {
        "bad.jpg": "not an image, or of a kind Pillow does not know",
        "not there.png": "No such file or directory",
    }
    assert "2 of 6 files could not be read" in done.stderr


def test_an_empty_list_is_no_result(work, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    done = predict(work, "-", "--format", "csv")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no images under -" in done.stderr


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "json"])
def test_each_format_has_each_file(work, form):
    done = predict(work, "photos", "bad.jpg", "--format", form, "--top-k", "2", "--workers", "1", "--batch-size", "1")
    assert done.returncode == 3
    names = ["photos/a/1.png", "photos/a/2.jpg", "photos/b/3.png", "bad.jpg"]
    if form == "table":
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["file", *names]
    elif form == "csv":
        assert [row["path"] for row in csv.DictReader(done.stdout.splitlines())] == names
    else:
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        rows = rows[0]["predictions"] if form == "json" else rows
        assert [row["path"] for row in rows] == names
        assert len(rows[0]["probs"]) == 2
    assert "\r" not in done.stderr and "\x1b" not in done.stderr  # progress is for terminals


def test_addresses_with_permission_alone(work, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(work))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        refused = predict(work, url + "photos/a/1.png", "--json")
        done = predict(work, url + "photos/a/1.png", "photos/a/1.png", url + "gone.png", "--allow-network", "--json")
        server.shutdown()
    assert refused.returncode == 2
    assert refused.json["error"]["hint"] == "--allow-network"
    assert done.returncode == 3
    fetched, local, gone = done.json["predictions"]
    assert fetched["path"] == url + "photos/a/1.png"
    assert fetched["probs"] == local["probs"]
    assert gone == {"path": url + "gone.png", "error": "the server answers 404 File not found"}


def test_a_table_of_many_comes_in_pages(work, monkeypatch):
    from imgclf.cli import rows

    monkeypatch.setattr(rows, "PAGE", 2)
    lines = predict(work, "photos").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["file", "photos/a/1.png", "photos/a/2.jpg", "file", "photos/b/3.png"]


def test_a_long_json_document_is_the_same_from_the_disk(work, monkeypatch):
    from imgclf.cli import rows

    whole = predict(work, "photos", "--json").stdout
    monkeypatch.setattr(rows, "IN_MEMORY", 10)
    assert predict(work, "photos", "--json").stdout == whole
    assert len(json.loads(whole)["predictions"]) == 3


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_is_json_where_the_terminal_knows_only_ascii(form, monkeypatch):
    from imgclf.cli import rows
    from imgclf.console import Terminal

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace"))
    rows.write(colours(), [{"path": "Löwe 🦁.jpg"}], form, Terminal())
    sys.stdout.flush()
    found = json.loads(raw.getvalue())
    assert (found["predictions"][0] if form == "json" else found) == {"path": "Löwe 🦁.jpg"}


def test_answers_come_before_the_last_image_is_named(work):
    """However many there are: never more than two batches are ahead."""
    taken = 0

    def paths():
        nonlocal taken
        for _ in range(500):
            taken += 1
            yield work / "photos" / "b" / "3.png"

    for answered, _ in enumerate(colours().predict(paths(), batch_size=8)):
        assert taken - answered <= 3 * 8
    assert (answered, taken) == (499, 500)


def peak(work, n: int) -> tuple[int, int]:
    """Predict ``n`` images in a process of its own: its peak of memory in bytes, and how many rows it gave.

    The first row is read before the second half of the images is named.
    """
    code = r"""
import re, sys
from imgclf.cli.app import run
code = run(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read()).group(1), file=sys.stderr)
sys.exit(code)
"""
    paths = [f"many/{i}.png\n".encode() for i in range(n)]
    with subprocess.Popen(
        [sys.executable, "-c", code, "predict", "model.onnx", "-", "--format", "jsonl", "--quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        process.stdin.writelines(paths[: n // 2])
        process.stdin.flush()
        rows = [process.stdout.readline()]
        rest = threading.Thread(target=lambda: (process.stdin.writelines(paths[n // 2 :]), process.stdin.close()))
        rest.start()
        rows += process.stdout.readlines()
        rest.join()
        used = int(process.stderr.read().split()[-1]) * 1024
        assert process.wait() == 0
    return used, len(rows)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_images_need_no_more_memory_than_a_thousand(work):
    make_files(work / "many", *(f"{i}.png" for i in range(10_000)), size=(24, 20))
    few, many = peak(work, 1000), peak(work, 10_000)
    assert (few[1], many[1]) == (1000, 10_000)
    print(f"peak of memory: {few[0] / 2**20:.1f} MB for 1,000 images, {many[0] / 2**20:.1f} MB for 10,000")
    assert many[0] - few[0] < 10e6
