"""The rules of the house: who may import whom, what loads what, where each setting is read, and how long things get."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from imgclf.schema import leaves

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "imgclf"
TOP = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} | {
    *("imgclf", "configs", "tests", "scripts", "docs"),
}
MODULES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
    for p in sorted(PACKAGE.rglob("*.py"))
}
GROUND = (
    "errors",
    "foreign",
    "schema",
    "config",
    "runs",
    "shapes",
    "untrusted_yaml",
    "console",
    "locks",
    "randomness",
    "ranks",
    "cores",
    "memory",
    "disk",
    "starter",
)
# Room -> the rooms it may import from, besides itself and the ground floor.
ROOMS = {
    "data": set(),
    "networks": set(),
    "training": {"data", "networks"},
    "results": {"data"},
    "shipping": {"data", "networks", "results"},
    "workflow": {"data", "networks", "training", "results", "shipping"},
    "cli": {"data", "networks", "training", "results", "shipping", "workflow"},
}
LIGHT = [
    *(f"imgclf.{name}" for name in GROUND),
    *(f"imgclf.data.{name}" for name in ("samples", "scan", "walk", "folders", "names", "tables", "columns")),
    *(
        f"imgclf.data.{name}"
        for name in (
            "labels",
            "draw",
            "groups",
            *("named", "network", "location"),
            "corrections",
            "changes",
            "split",
            "checks",
            *("alike", "cache", "facts", "inspection", "leaks", "near", "reasons", "scan_cache", "survey"),
            *("block", "forms", "image_cache", "image_disk", "image_ram"),
            "images",
            "channels",
            "balance",
            "digits",
            "prepare",
        )
    ),
    *(f"imgclf.training.{name}" for name in ("plan", "plan_view", "display", "interrupt", "devices", "quicker")),
    *(name for name in MODULES if name.startswith("imgclf.results")),
    *(name for name in MODULES if name.startswith("imgclf.cli")),
]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """The modules of imgclf a file imports anywhere in it, `from imgclf.data import checks` as imgclf.data.checks."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {name for name in found if name.split(".")[0] == "imgclf"}


def floor(module: str) -> str:
    """`ground`, the room, or `outside` (the package itself and __main__)."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return "outside"
    return parts[1] if parts[1] in ROOMS else "ground"


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_belongs_to_the_ground_floor_or_a_room():
    strangers = [m for m in MODULES if floor(m) == "ground" and m.split(".")[1] not in GROUND]
    assert strangers == []
    assert [g for g in GROUND if f"imgclf.{g}" not in MODULES] == []


def test_rooms_import_only_from_rooms_before_them_and_the_ground_floor():
    violations = []
    for module, path in MODULES.items():
        here = floor(module)
        allowed = {"ground", "outside"} | ({here} | ROOMS[here] if here in ROOMS else set())
        if here != "outside":
            violations += [f"{module} imports {other}" for other in imported(path) if floor(other) not in allowed]
    assert violations == []


def test_light_modules_load_neither_torch_nor_fastai_nor_anything_as_heavy():
    code = """
import importlib, sys
heavy = {"torch", "fastai", "torchvision", "onnx", "onnxruntime", "sklearn", "pandas", "matplotlib", "scipy"}
for name in sys.argv[1:]:
    importlib.import_module(name)
    found = heavy & set(sys.modules)
    if found:
        print(name, "loads", *sorted(found))
        break
"""
    assert run_python(code, *LIGHT) == ""


def test_light_modules_have_no_heavy_import_at_their_head():
    # The rooms' own light files again, read instead of run: an earlier import must not hide a later one.
    found = []
    for name in LIGHT:
        for node in tree(MODULES[name]).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{name} imports {n}" for n in names if n.split(".")[0] in ("torch", "fastai", "torchvision")]
    assert found == []


@cache
def reads() -> Counter[str]:
    """How often each leaf is read: `cfg.train.lr` or `self.cfg.train.lr`, `cfg.seed`."""
    found: Counter[str] = Counter()
    for path in MODULES.values():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute):
                match = re.fullmatch(r"(?:.*\.)?cfg\.([a-z_]+(?:\.[a-z_]+)?)", ast.unparse(node))
                if match and match.group(1) in leaves():
                    found[match.group(1)] += 1
    return found


@pytest.mark.parametrize("leaf", [key for key in leaves() if key != "version"])
def test_each_setting_is_read_in_exactly_one_place(leaf):
    assert reads()[leaf] == 1


def test_help_loads_neither_torch_nor_fastai_and_cuts_no_option_of_a_command_on_60_columns():
    """`imgclf --help` and the help of every command and subcommand, one after the other in one process."""
    code = """
import json, os, re, sys, io, contextlib
os.environ["COLUMNS"] = "60"
from imgclf.cli.app import app, run
from typer.main import get_command
failed, seen, cut = [], [], []
def visit(command, path):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = run([*path, "--help"])
    heavy = {"torch", "fastai", "torchvision", "numpy", "pandas", "matplotlib"} & set(sys.modules)
    if code or heavy:
        failed.append([path, code, sorted(heavy)])
    seen.append(" ".join(path))
    cut.extend([path, name] for name in re.findall(r"--[\\w-]*…", text.getvalue()) if path)
    for name, child in getattr(command, "commands", {}).items():
        visit(child, [*path, name])
with contextlib.redirect_stdout(io.StringIO()):
    run(["--help"])
slow = {"pydantic", "ruamel"} & set(sys.modules)
if slow:
    failed.append(["--help", 0, sorted(slow)])
visit(get_command(app), [])
print(json.dumps([failed, seen, cut]))
"""
    failed, seen, cut = json.loads(run_python(code))
    assert (failed, cut) == ([], [])
    assert {"train", "data check", "config init", "runs list"} <= set(seen)


def registered() -> dict[str, str]:
    """Every command with its help text, subcommands as `data check`."""
    code = """
import json, sys
from imgclf.cli import app as a
a._register()
from typer.main import get_command
found = {}
def visit(command, path):
    for name, child in getattr(command, "commands", {}).items():
        visit(child, [*path, name])
    if path and not getattr(command, "commands", None):
        found[" ".join(path)] = command.help or ""
visit(get_command(a.app), [])
print(json.dumps(found))
"""
    return json.loads(run_python(code))


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    return registered()


def test_every_commands_help_has_an_example_of_that_command(commands):
    assert [name for name, text in commands.items() if f"Example: [bold]imgclf {name}" not in text] == []


def test_the_commands_of_the_interface_exist(commands):
    promised = """train lrfind export evaluate predict explain archs verify doctor data\\ check data\\ summary
    data\\ show
    config\\ init config\\ show config\\ check config\\ schema runs\\ list runs\\ show"""
    assert {name.replace("\\ ", " ") for name in re.findall(r"(?:\\ |\S)+", promised)} <= set(commands)


def test_the_shared_options_are_on_every_command_that_takes_a_configuration():
    from typer.main import get_command

    from imgclf.cli import app as cli

    cli._register()
    root = get_command(cli.app)
    wanted = {
        "-c",
        "-d",
        "-a",
        "-e",
        "-b",
        "--config",
        "--data",
        "--arch",
        "--epochs",
        "--freeze-epochs",
        "--batch-size",
    }
    wanted |= {
        "--lr",
        "--size",
        "--presize",
        "--seed",
        "--device",
        "--set",
        "--offline",
        "--json",
        "--quiet",
        "--debug",
    }
    for path in (["train"], ["lrfind"], ["data", "check"], ["data", "summary"], ["data", "show"], ["config", "show"]):
        command = root
        for name in path:
            command = command.commands[name]
        options = {o for p in command.params for o in p.opts}
        assert wanted - options == set(), path


def test_every_command_takes_json_and_debug():
    from typer.main import get_command

    from imgclf.cli import app as cli

    cli._register()
    lacking = []

    def visit(command, path):
        children = getattr(command, "commands", {})
        for name, child in children.items():
            visit(child, [*path, name])
        if not children:
            options = {o for p in command.params for o in p.opts}
            lacking.extend(f"{' '.join(path)} {o}" for o in ("--json", "--quiet", "--debug") if o not in options)

    visit(get_command(cli.app), [])
    assert lacking == []


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/*.md")))])
def test_commands_named_in_the_documents_exist(commands, page):
    if not (ROOT / page).is_file():
        pytest.skip(f"{page} is not written yet")
    text = (ROOT / page).read_text(encoding="utf-8")
    fence = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
    code = fence.findall(text) + re.findall(r"`(imgclf [^`]+)`", fence.sub("", text))
    named = [m for part in code for m in re.findall(r"^\s*(?:\$ )?imgclf ([a-z]+)(?: ([a-z]+))?", part, re.MULTILINE)]
    groups = {name.split()[0] for name in commands if " " in name}
    unknown = [
        f"imgclf {first} {second}".strip()
        for first, second in named
        if not (first in commands or (first in groups and (not second or f"{first} {second}" in commands)))
    ]
    assert unknown == []


def functions() -> list[tuple[str, int]]:
    found = []
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{name}.{node.name}", (node.end_lineno or 0) - node.lineno + 1))
    return found


def test_no_function_is_longer_than_60_lines():
    assert [item for item in functions() if item[1] > 60] == []


def test_no_file_is_longer_than_300_lines():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: n for name, n in lengths.items() if n > 300} == {}


def test_half_of_all_functions_are_at_most_12_lines():
    lengths = sorted(length for _, length in functions())
    assert lengths[len(lengths) // 2] <= 12


def test_every_module_says_what_it_is_for():
    assert [name for name, path in MODULES.items() if not ast.get_docstring(tree(path))] == []


def test_there_is_no_utils():
    assert [name for name in MODULES if re.search(r"\.(utils?|helpers?|common|misc)$", name)] == []


def test_no_relative_imports_and_no_print():
    found = []
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                found.append(f"{name}:{node.lineno} relative import")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{name}:{node.lineno} print")
    assert found == []


def test_images_are_opened_in_one_place():
    """Which kinds of files are read is decided there: Pillow knows some that start programs of the machine."""
    calls = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open")
    ]
    assert [call.split(":")[0] for call in calls] == ["imgclf.data.images"]


def test_importing_the_package_is_cheap_and_its_names_resolve():
    code = (
        "import imgclf, sys; print(len([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'torch', 'rich')]))"
    )
    assert run_python(code).strip() == "0"
    from imgclf import _PUBLIC, __all__

    assert set(__all__) == {*_PUBLIC, "__version__"}
    for name, module in _PUBLIC.items():
        assert name in {n.name for n in tree(MODULES[module]).body if isinstance(n, ast.FunctionDef)}


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import imgclf

    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        imgclf.trian  # noqa: B018


@pytest.mark.skipif(os.name == "nt", reason="the executable has another name")
def test_the_module_and_the_command_are_the_same():
    module = subprocess.run([sys.executable, "-m", "imgclf", "--version"], capture_output=True, text=True, check=True)
    from imgclf import __version__

    assert module.stdout == f"imgclf {__version__}\n"


def test_no_two_test_files_have_one_name():
    """pytest imports them by name; only tests/unit/results is a package, whose names are its own."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_nothing_else_is_kept_at_the_top_of_the_repository():
    """As `git add` takes along what a command run by hand has left there."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout, or no git")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files"]  # whoever owns it
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP
