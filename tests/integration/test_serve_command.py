"""`imgclf serve` as a process: its address, its end, and what it is told wrongly."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from serving import Client, colours_onnx
from support import ROOT, picture, run_here

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return colours_onnx(tmp_path_factory.mktemp("served") / "model.onnx")


@contextmanager
def command(model, *options):
    """The real command, once it has said its address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "imgclf", "serve", str(model), "--port", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=model.parent,
    ) as process:  # fmt: skip
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_after_the_request_in_progress(model, sent, code):
    before = sorted(model.parent.rglob("*"))
    with command(model, "--json", "--host", "127.0.0.1") as (process, line):
        said = json.loads(line)
        assert said["model"] == "model.onnx"
        client = Client(said["url"], SimpleNamespace())
        halfway, go_on, found = threading.Event(), threading.Event(), []
        data = picture(40, 30).tobytes()

        def pieces():
            yield data[:100]
            halfway.set()
            assert go_on.wait(20)
            yield data[100:]

        thread = threading.Thread(
            target=lambda: found.append(client.ask("POST", "/predict", pieces(), content_type="image/png"))
        )
        thread.start()
        assert halfway.wait(20)
        time.sleep(0.5)  # until the server has read the first half: what it has not seen is not in progress
        process.send_signal(sent)
        go_on.set()
        thread.join(20)
        assert process.wait(20) == code
        out, err = process.stdout.read(), process.stderr.read()
    assert found[0].status == 422  # raw pixels are no file; what matters is that there is an answer
    assert out == ""  # one line, and it was read
    assert "Traceback" not in err and "http://127.0.0.1:" in err
    assert sorted(model.parent.rglob("*")) == before  # nothing is written


def test_other_machines_are_warned_of_and_people_get_the_address(model):
    with command(model, "--host", "0.0.0.0") as (process, line):
        assert line.startswith("http://0.0.0.0:")
        process.terminate()
        assert "other machines can reach this server" in process.stderr.read()


def test_what_it_cannot_do(model, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_here("serve", model, "--port", port, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.json["error"]["message"].startswith(f"--port {port} is taken")
    assert "--port 0" in done.json["error"]["hint"]
    done = run_here("serve", tmp_path / "nothing.onnx", "--port", 0, cwd=tmp_path)
    assert done.returncode == 4 and "nothing.onnx" in done.stderr
    done = run_here("serve", model, "--port", 0, "--abstain", 0.01, cwd=tmp_path)
    assert done.returncode == 4 and "no threshold for 0.01" in done.stderr
    assert run_here("serve", model, "--port", 99999, cwd=tmp_path).returncode == 2
