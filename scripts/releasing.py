"""What scripts/release_check checks. A check returns what to note, or raises what is wrong.

python scripts/releasing.py [--quick] [NAME …]
"""

import argparse
import email
import json
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # so that this also starts as a program

from scripts.quick_start import Wrong, quick_start, run  # noqa: E402

LARGEST = 1_000_000  # bytes of a file in the wheel: there are no weights or photographs in it


class LeftOut(Exception):
    """Why a check was not made."""


@dataclass(frozen=True)
class Outcome:
    """How a check went: ``passed``, ``FAILED`` or ``left out``."""

    name: str
    state: str
    note: str
    seconds: float


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
