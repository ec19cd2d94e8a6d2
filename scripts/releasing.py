"""What scripts/release_check checks. A check returns what to note, or raises what is wrong.

python scripts/releasing.py [--quick] [NAME …]
"""

import argparse
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
LARGEST = 1_000_000  # bytes of a file in the wheel: there are no weights or photographs in it
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, past any proxy


class Wrong(Exception):
    """Why this cannot be released."""


class LeftOut(Exception):
    """Why a check was not made."""


@dataclass(frozen=True)
class Outcome:
    """How a check went: ``passed``, ``FAILED`` or ``left out``."""

    name: str
    state: str
    note: str
    seconds: float


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


# -- What is written down -------------------------------------------------------------------------------------------


def version(root: Path = ROOT) -> str:
    """One version, in the package, CITATION.cff and at the head of the changelog, with one date."""
    package = _found(r'^__version__ = "(.+)"$', root / "imgclf/__init__.py")
    cited = _found(r"^version: (.+)$", root / "CITATION.cff")
    date = _found(r"^date-released: \"?(\d{4}-\d\d-\d\d)\"?$", root / "CITATION.cff")
    heads = re.findall(r"^## \[(.+?)\](?: - (.+))?$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    if not heads or heads[0] != (cited, date) or package != cited:
        head = " - ".join(filter(None, heads[0])) if heads else "nothing"
        raise Wrong(f"the package says {package}, CITATION.cff {cited} - {date}, the head of CHANGELOG.md {head}")
    return f"{package} of {date}"


def _found(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.read_text(encoding="utf-8"), re.M)
    if match is None:
        raise Wrong(f"{file.name} has no line such as {pattern}")
    return match[1]


def tree() -> str:
    """Nothing that is not committed."""
    left = run("git", "status", "--porcelain").splitlines()
    if left:
        raise Wrong(f"{len(left)} files are not committed: {', '.join(line[3:] for line in left[:5])}")
    return run("git", "rev-parse", "--short", "HEAD").strip()


def generated() -> str:
    """The pages that scripts write are what they would write now."""
    for script in ("make_configuration.py", "make_loss_figures.py"):
        run(sys.executable, ROOT / "scripts" / script, "--check")
    return "docs/configuration.md, docs/the-loss.md"


# -- What tools say -------------------------------------------------------------------------------------------------


def lint() -> str:
    """ruff, and shellcheck on the scripts."""
    run("ruff", "format", "--check", ".")
    run("ruff", "check", ".")
    shells = [p for folder in ("scripts", ".ci") for p in sorted((ROOT / folder).iterdir()) if _is_shell(p)]
    run("shellcheck", *shells)
    return f"ruff; shellcheck on {len(shells)} scripts"


def _is_shell(path: Path) -> bool:
    return path.is_file() and not path.suffix and "bash" in path.read_text(encoding="utf-8").partition("\n")[0]


def types() -> str:
    """mypy --strict."""
    return run("mypy").strip().splitlines()[-1]


def tests() -> str:
    """All but those marked slow, on the newest versions; scripts/platforms has the oldest."""
    side_by_side = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile")
    said = run(sys.executable, "-m", "pytest", "-q", *side_by_side)
    return said.strip().splitlines()[-1]


def audit() -> str:
    """Known weaknesses of the installed packages, where pip-audit is installed and what it asks can be reached."""
    if shutil.which("pip-audit") is None:
        raise LeftOut("pip-audit is not installed")
    said = run("pip-audit", "--local", "--skip-editable", "--progress-spinner", "off", "--format", "json")
    known = [
        package for package in json.loads(said)["dependencies"] if "editable" not in package.get("skip_reason", "")
    ]
    # Where it reaches no service, or another index than PyPI, it skips every package and knows of nothing in them.
    skipped = [package["name"] for package in known if "skip_reason" in package]
    if skipped:
        raise LeftOut(f"pip-audit could not look up {len(skipped)} of {len(known)} packages, such as {skipped[0]}")
    return f"pip-audit knows of nothing in {len(known)} packages"


# -- What is given away ---------------------------------------------------------------------------------------------


def built(folder: Path) -> tuple[Path, Path]:
    """Source archive and wheel, the wheel made from the archive; those that lie in the folder already, if any."""
    if not list(folder.glob("*.whl")):
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    [source], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def contents(folder: Path) -> str:
    """The wheel has the package and its configurations, no more; the archive what builds and tests it."""
    source, wheel = built(folder)
    with zipfile.ZipFile(wheel) as archive:
        inside = {info.filename: info.file_size for info in archive.infolist()}
    needed = {f"imgclf/configs/{p.name}" for p in (ROOT / "configs").glob("*.yaml")} | {"imgclf/py.typed"}
    needed |= {str(p.relative_to(ROOT)) for p in (ROOT / "imgclf").rglob("*.py")}
    strangers = [n for n in inside if not re.match(r"imgclf(-[^/]+\.dist-info)?/", n)]
    large = [n for n, size in inside.items() if size > LARGEST]
    if needed - inside.keys() or strangers or large:
        raise Wrong(f"the wheel lacks {sorted(needed - inside.keys())}, has {strangers}, too large: {large}")
    with tarfile.open(source) as packed:
        parts = {name.split("/")[1] for name in packed.getnames() if "/" in name}
    lacking = {"imgclf", "configs", "tests", "scripts", "docs", "LICENSE", "README.md", "pyproject.toml"} - parts
    if lacking:
        raise Wrong(f"the source archive lacks {sorted(lacking)}")
    sizes = [f"{p.stat().st_size / 1e6:.1f} MB" for p in (wheel, source)]
    return f"wheel {sizes[0]}, {len(inside)} files; source archive {sizes[1]}"


def metadata(folder: Path) -> str:
    """What an index demands of a wheel: name, version, licence, a page it can show, classifiers that exist."""
    from trove_classifiers import classifiers

    import imgclf

    with zipfile.ZipFile(built(folder)[1]) as archive:
        [file] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        said = email.message_from_bytes(archive.read(file))
    expected = {
        "Name": "imgclf", "Version": imgclf.__version__, "License-Expression": "Apache-2.0",
        "License-File": "LICENSE", "Description-Content-Type": "text/markdown", "Requires-Python": ">=3.10",
    }  # fmt: skip
    wrong = [f"{key} is {said[key]}, not {value}" for key, value in expected.items() if said[key] != value]
    wrong += [f"there is no classifier {c}" for c in said.get_all("Classifier", []) if c not in classifiers]
    if not said["Summary"] or not str(said.get_payload()).strip():
        wrong.append("no summary, or no description")
    if wrong:
        raise Wrong("; ".join(wrong))
    return f"metadata {said['Metadata-Version']}, {len(said.get_all('Requires-Dist', []))} requirements"


def wheel(folder: Path) -> str:
    """The wheel, in a new environment away from the checkout: the quick start, and a server that answers."""
    return quick_start(built(folder)[1], folder / "away from it")


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


# -- All of it ------------------------------------------------------------------------------------------------------

Check = Callable[[], str]


def checks(folder: Path) -> dict[str, Check]:
    """Every check by its name, cheap ones first."""
    return {
        "version": version,
        "tree": tree,
        "generated": generated,
        "lint": lint,
        "types": types,
        "contents": lambda: contents(folder),
        "metadata": lambda: metadata(folder),
        "audit": audit,
        "tests": tests,
        "wheel": lambda: wheel(folder),
    }


def made(name: str, check: Check) -> Outcome:
    """Make one check and tell how it went."""
    started, state = time.monotonic(), "passed"
    try:
        note = check()
    except Wrong as e:
        state, note = "FAILED", str(e)
    except LeftOut as e:
        state, note = "left out", str(e)
    return Outcome(name, state, note, time.monotonic() - started)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Is this checkout fit to be released?")
    parser.add_argument("--quick", action="store_true", help="without the tests")
    with tempfile.TemporaryDirectory() as folder:
        known = checks(Path(folder))
        parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
        given = parser.parse_args(arguments)
        if strangers := set(given.names) - known.keys():
            parser.error(f"there is no check {', '.join(sorted(strangers))}; there are {', '.join(known)}")
        chosen = given.names or [name for name in known if not (given.quick and name == "tests")]
        outcomes = []
        for name in chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            outcomes.append(made(name, known[name]))
    for one in outcomes:
        print(f"{one.name:<10} {one.state:<9} {one.seconds:5.0f} s  {one.note}")
    return int(any(one.state == "FAILED" for one in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
