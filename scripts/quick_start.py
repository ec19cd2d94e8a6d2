"""What is released, used as a stranger would: the wheel in a new environment, away from the checkout."""

import json
import os
import subprocess
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, past any proxy


class Wrong(Exception):
    """Why this cannot be released."""


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """The standard output of a command.

    Raises:
        Wrong: with the end of its output, if it fails.
    """
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Wrong(f"{' '.join(Path(str(c)).name for c in command[:3])} ended with {done.returncode}:\n{end}")
    return done.stdout


def quick_start(file: Path, away: Path) -> str:
    """Install a wheel into a new environment in ``away``; train, evaluate, export, predict and serve there."""
    home = away / "environment"
    venv.create(home, with_pip=True)
    pinned = ROOT / "scripts/constraints/newest.txt"
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"IMGCLF_CACHE": str(away / "cache")}
    wanted = f"{file}[onnx,serve]"
    run(home / "bin/python", "-m", "pip", "install", "-q", "-c", pinned, wanted, cwd=away, env=variables)

    def imgclf(*arguments: object) -> str:
        return run(home / "bin/imgclf", *arguments, cwd=away, env=variables)

    _same(imgclf("--version").strip(), f"imgclf {file.name.split('-')[1]}")
    where = run(home / "bin/python", "-c", "import imgclf; print(imgclf.__file__)", cwd=away, env=variables)
    _same(Path(where).is_relative_to(home), True)
    imgclf("config", "show", "-c", "pets")
    trained = json.loads(imgclf("train", "--offline", "--epochs", 1, "--lr", 0.001, "--name", "first", "--json"))
    judged = json.loads(imgclf("evaluate", "first", "--json"))
    _same(judged["accuracy"], trained["metrics"]["accuracy"])
    exported = json.loads(imgclf("export", "first", "--format", "onnx", "--json"))["files"][0]
    _same(exported["parity"]["passed"], True)
    imgclf("verify", exported["path"])
    image = away / "photo.png"
    picture = "from PIL import Image; Image.new('RGB', (48, 32), 'white').save('photo.png')"
    run(home / "bin/python", "-c", picture, cwd=away, env=variables)
    predicted = json.loads(imgclf("predict", exported["path"], image, "--json"))["predictions"][0]
    with _server(home / "bin/imgclf", exported["path"], away, variables) as url:
        request = urllib.request.Request(f"{url}/predict", image.read_bytes(), {"Content-Type": "image/png"})
        with OPENER.open(request, timeout=60) as response:
            answered = json.load(response)["predictions"][0]
    _same(answered["label"], predicted["label"])
    return f"accuracy {judged['accuracy']['value']:.3f} after one epoch on the digits; a server answered"


@contextmanager
def _server(command: Path, model: str, away: Path, variables: dict[str, str]) -> Iterator[str]:
    """The address of a server that ends with the block."""
    serve = [str(command), "serve", model, "--port", "0", "--json"]
    with subprocess.Popen(serve, cwd=away, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise Wrong(f"imgclf serve ended with {process.wait()}")
            yield str(json.loads(line)["url"])
        finally:
            process.terminate()


def _same(found: Any, expected: Any) -> None:
    if found != expected:
        raise Wrong(f"{found} is not {expected}")
