"""The documents name what exists: links, commands, keys, files; and the numbers worked out in them are right."""

import ast
import importlib.util
import io
import json
import math
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from documents import PAGES
from PIL import Image
from support import ROOT, need_openvino

from imgclf import runs
from imgclf.schema import leaves

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
# `model.json` is a file of a run, `model.onnx` an export: names in backticks that look like keys.
FILES = {
    runs.RECORD,
    runs.WEIGHTS,
    runs.LOG,
    "model.onnx",
    "model.onnx.json",
    "model.pt",
    "model.pt2",
    "model.fp16.onnx",
    "model.int8.onnx",
    "model.full.onnx",
    "model.xml",
    "model.bin",
    "model.pkl",
}
METHODS = {"model.predict", "model.probs"}  # of the model in the Python examples


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def table_after(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a line of a page, without its head."""
    rows = text(page).split(heading, 1)[1].split("\n|---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


# -- The page of the configuration ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def make_configuration():
    spec = importlib.util.spec_from_file_location("make_configuration", ROOT / "scripts" / "make_configuration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_configuration_is_what_the_script_writes(make_configuration):
    assert text("docs/configuration.md") == make_configuration.page()


def test_configuration_has_every_key(make_configuration):
    page = make_configuration.page()
    assert [key for key in leaves() if f"| `{key}` |" not in page] == []


def test_a_stale_page_is_noticed_and_written_anew(make_configuration, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_configuration, "ROOT", tmp_path)
    monkeypatch.setattr(make_configuration, "TARGET", tmp_path / "configuration.md")
    assert make_configuration.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert make_configuration.main([]) == 0
    assert make_configuration.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"type": "integer", "minimum": 2}, "whole number from 2"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.5}, "number above 0 to 1.5"),
        ({"enum": ["a", "b", "c"], "type": "string"}, "`a`, `b` or `c`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "`a` or `b`, or null"),
        ({"const": 1, "type": "integer"}, "`1`"),
        ({"type": "array", "items": {"type": "string"}}, "list (text)"),
    ],
)
def test_types_as_people_read_them(make_configuration, value, words):
    assert make_configuration.kind(value) == words


# -- Links, commands, keys, files -------------------------------------------------------------------------------------


def slugs(page) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


LINKS = [
    pytest.param(page, link, id=f"{page.name} {link}")
    for page in PAGES
    for link in dict.fromkeys(LINK.findall(prose(page)))
    if not re.match(r"[a-z]+:", link)
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    assert target.exists()
    if anchor:
        assert anchor in slugs(target)


def command_lines(page) -> list[str]:
    """The lines of a page's shell blocks that call imgclf."""
    lines = [line for body in blocks(page, "bash", "console", "sh") for line in body.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?imgclf ", line)]


def examples(command, path: str = "") -> dict[str, list[str]]:
    """The examples in the help of each command below this one, by its name."""
    if hasattr(command, "commands"):
        return {k: v for name, below in command.commands.items() for k, v in examples(below, f"{path} {name}").items()}
    _, _, shown = (command.help or "").partition("Example:")
    return {path.strip(): [line.replace("\\[", "[") for line in re.findall(r"\[bold\](.+?)\[/\]", shown)]}


COMMANDS = list(dict.fromkeys(line for page in PAGES for line in command_lines(page)))


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 30


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The command line as Typer builds it, in an empty folder: some options make folders."""
    from typer.main import get_command

    from imgclf.cli import app as cli

    monkeypatch.chdir(tmp_path)
    cli._register()
    return get_command(cli.app)


def parse(root, line: str) -> str:
    """Parse a command line as the command would, without running it; returns the command's name."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")), len(words))]
    command, path = root, []
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no command {' '.join([*path, *words[:1]])}"
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    context = command.make_context(" ".join(path), words)
    settings = context.params.get("assignments") or []
    assert [s for s in settings if "=" not in s or s.partition("=")[0] not in leaves()] == []
    return " ".join(path)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(root, line):
    assert parse(root, line)


@pytest.mark.parametrize(
    "line",
    [
        "imgclf trian",
        "imgclf data chekc",
        "imgclf train --epoch 3",
        "imgclf train --epochs many",
        "imgclf predict mine",
        "imgclf train --set train.epoch=3",
    ],
)
def test_a_wrong_command_would_be_noticed(root, line):
    with pytest.raises(Exception, match=r"(?i)no such|no command|missing|valid integer|assert"):
        parse(root, line)


def test_the_examples_in_the_help_parse(root):
    """Each command has one, and it is of that command."""
    shown = examples(root)
    assert len(shown) > 20
    assert {name: lines for name, lines in shown.items() if not lines} == {}
    for name, lines in shown.items():
        assert [parse(root, line) for line in lines] == [name] * len(lines)


SECTIONS = {key.split(".")[0] for key in leaves() if "." in key}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_exist(page):
    named = re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z0-9_.]+)", prose(page))
    unknown = [name for name in named if name not in leaves() and name not in FILES | METHODS]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_project_exist(page):
    folders = "imgclf|cli|data|training|results|shipping|workflow|scripts|tests"
    named = re.findall(rf"`(?:python )?((?:{folders})/[\w./-]*)`", prose(page))
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "imgclf" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documents_compiles(page):
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


# -- What is said in numbers and lists --------------------------------------------------------------------------------


def plan_of_the_page():
    from imgclf.config import load_config
    from imgclf.training import plan

    cfg = load_config("folder", **{"data.path": "photos", "data.batch_size": 100})
    return plan.build(cfg, pretrained=True, lr=2e-3, n_groups=3, batches_per_epoch=10)


def test_the_plan_is_printed_as_shown():
    from rich.console import Console

    from imgclf.data.images import Preprocess
    from imgclf.training import plan_view

    plan, console = plan_of_the_page(), Console(width=100, record=True, file=io.StringIO())
    console.print(
        plan_view.facts(
            classes=["cat", "dog"], n_train=1000, n_valid=250, batch_size=100, batches=10, workers=2,
            preprocess=Preprocess(224), arch="resnet34", pretrained=True, device="cpu",
            precision="fp32 (the reference on cpu)",
        )
    )  # fmt: skip
    # Body 21,284,672 parameters, 17,024 of them in BatchNorm; head: BatchNorm, 1024 x 512, BatchNorm, 512 x 2.
    head = 2 * 1024 + 1024 * 512 + 2 * 512 + 512 * 2
    console.print(f"\nplan: {plan.reason}")
    console.print(plan_view.phases(plan, [(head + 17_024, head + 21_284_672), (head + 21_284_672,) * 2]))
    printed = "\n".join(line.rstrip() for line in console.export_text().splitlines()).strip()
    assert printed in text("docs/training.md")


def test_the_learning_rates_of_the_layer_groups():
    rows = table_after("docs/training.md", "The layers are in three groups")
    for phase, row in zip(plan_of_the_page().phases, rows, strict=True):
        assert row[0] == phase.name
        assert [float(cell) for cell in row[1:]] == pytest.approx(phase.lrs)


def test_the_shape_of_the_cycles():
    from imgclf.training import plan

    rows = table_after("docs/training.md", "(*one cycle*)")
    expected = [(c.div, c.pct_start) for c in (plan.FROZEN, plan.UNFROZEN, plan.ONE_CYCLE)]
    for (_, start, rise), (div, pct) in zip(rows, expected, strict=True):
        assert start.startswith(f"1/{div:g}")
        assert rise.startswith(f"{pct:.0%}".replace("%", " %"))


def test_the_cross_entropy_worked_by_hand():
    from imgclf.results import calibration, metrics

    rows = {row[0]: row[1:] for row in table_after("docs/the-loss.md", "By hand")}
    activations = np.array([[float(cell.replace("−", "-")) for cell in rows["activation"][:2]]])
    probs = calibration.softmax(activations)
    losses = [metrics.losses(probs, np.array([i]))[0] for i in (0, 1)]
    assert rows["exponential"] == [f"{v:.3f}" for v in (*np.exp(activations[0]), np.exp(activations).sum())]
    assert rows["probability"] == [*(f"{p:.3f}" for p in probs[0]), "1"]
    assert rows["loss if this is the right class"][:2] == [f"{loss:.3f}" for loss in losses]
    assert losses[1] - losses[0] == pytest.approx(3, abs=1e-6)
    assert [f"{math.log(n):.3f}" in text("docs/the-loss.md") for n in (2, 10)] == [True, True]


def test_the_intervals_given_as_examples():
    from imgclf.results.metrics import wilson

    page = " ".join(text("docs/shipping.md").split())
    for successes, n, said in [(94, 100, "the interval is {low:.3f} to {high:.3f}"), (10, 10, "10 is {low:.3f} to 1.")]:
        found = wilson(successes, n)
        assert said.format(low=found.low, high=found.high) in page


def registry(file: str, name: str) -> list[str]:
    """The keys of a dictionary at the head of a module, which is not imported: that would cost seconds."""
    for node in ast.parse((ROOT / "imgclf" / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return [key.value for key in node.value.keys]
    raise AssertionError(f"{file} has no {name}")


@pytest.mark.parametrize(
    ("page", "file", "name"),
    [
        ("training", "training/scores.py", "METRICS"),
        ("the-loss", "training/losses.py", "SINGLE_LABEL"),
        ("the-loss", "training/losses.py", "MULTI_LABEL"),
        ("training", "networks/bodies.py", "BUILDERS"),
        ("shipping", "shipping/exporters/__init__.py", "FORMATS"),
    ],
)
def test_lists_are_complete(page, file, name):
    assert [entry for entry in registry(file, name) if f"`{entry}`" not in text(f"docs/{page}.md")] == []


def test_image_suffixes_and_columns_are_all_named():
    from imgclf.data import columns, images, walk

    page = text("docs/data.md")
    names = (*columns.IMAGE_COLUMNS, *columns.LABEL_COLUMNS, *columns.SPLIT_COLUMNS, *columns.SPLIT_VALUES)
    assert [name for name in (*names, *walk.SYSTEM_NAMES) if f"`{name}`" not in page.replace("/`", "`")] == []
    listed = re.search(r"do not end in `([^`]+)`", page).group(1).split()
    assert set(listed) == images.SUFFIXES
    assert f"{images.MAX_PIXELS:,}" in page


def test_the_check_prints_what_is_shown(tmp_path, monkeypatch, capsys, pictures):
    from imgclf.cli.app import run

    names = [
        f"{part}/{c}/{c}{i}.png" for part, n in (("train", 6), ("valid", 2)) for c in ("cat", "dog") for i in range(n)
    ]
    photos = pictures.files(tmp_path / "photos", *names)
    shutil.copy(photos / "train/cat/cat0.png", photos / "valid/cat/again.png")
    shutil.copy(photos / "train/cat/cat1.png", photos / "train/dog/mistake.png")
    (photos / "train/dog/broken.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert run(["data", "check", "-d", "photos"]) == 0
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert f"$ imgclf data check -d photos\n{printed.strip()}\n" in text("docs/data.md")


def test_the_figures_of_an_evaluation_are_all_explained():
    from dataclasses import fields

    from imgclf.results.evaluate import Evaluation

    page = text("docs/shipping.md")
    assert [f.name for f in fields(Evaluation) if f.name not in ("n", "classes") and f"`{f.name}`" not in page] == []


def test_the_keys_of_a_model_record_are_all_explained():
    from dataclasses import fields

    from imgclf.data.images import Preprocess
    from imgclf.shipping.record import Record

    rows = table_after("docs/shipping.md", "`model.json`:")
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert names == {f.name for f in fields(Record)} | {"weights"}
    assert [f.name for f in fields(Preprocess) if f"`{f.name}`" not in text("docs/shipping.md")] == []


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """A tiny graph that keeps the contract, in the working folder: the mean of each colour, then softmax."""
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from imgclf.data.images import Preprocess

    helper, kinds = onnx.helper, onnx.TensorProto
    preprocess = Preprocess(size=6)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=kinds.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["colours"], keepdims=0),
            helper.make_node("Softmax", ["colours"], ["probs"], axis=1),
        ],
        "colours",
        [helper.make_tensor_value_info("image", kinds.UINT8, ["batch", 6, 6, 3])],
        [helper.make_tensor_value_info("probs", kinds.FLOAT, ["batch", 3])],
        [helper.make_tensor("axes", kinds.INT64, [2], [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    facts = {"classes": ["red", "green", "blue"], "preprocess": preprocess.to_dict()}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "model.onnx")
    record = {"preprocess": facts["preprocess"], "golden": {"classes": facts["classes"]}}
    (tmp_path / "model.onnx.json").write_text(json.dumps(record))
    return preprocess


def test_the_onnx_reader_reads_a_photograph_as_imgclf_does(colours, tmp_path, capsys):
    from imgclf.shipping import inference

    [code] = [block for block in blocks(ROOT / "docs" / "onnx.md", "python") if "image.crop(" in block]
    assert len(code.splitlines()) <= 15
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    photo = Image.linear_gradient("L").resize((40, 31)).convert("RGB")
    photo = Image.merge("RGB", [photo.getchannel(0), photo.getchannel(1).rotate(180), photo.getchannel(2).rotate(90)])
    photo.save("photo.jpg", exif=exif, quality=95)
    [expected] = inference.load("model.onnx").predict(["photo.jpg"], full_decode=True)
    exec(compile(code, "docs/onnx.md", "exec"), {})
    label, prob = capsys.readouterr().out.split()
    assert label == expected.label and 0.34 < expected.prob < 0.999
    assert float(prob) == pytest.approx(expected.prob, abs=1e-6)


def test_the_reader_for_images_of_any_size(tmp_path, monkeypatch, capsys, pictures):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    from imgclf.shipping import exporters, inference

    [code] = [block for block in blocks(ROOT / "docs" / "onnx.md", "python") if "model.full.onnx" in block]
    assert len(code.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    bundle = ROOT / "tests" / "data" / "bundles" / "v1" / "single"
    exporters.export(bundle, "onnx-full", Path("model.full.onnx"))
    pictures.picture(90, 70).save("photo.jpg")
    [expected] = inference.load(bundle).predict(["photo.jpg"], full_decode=True)
    exec(compile(code, "docs/onnx.md", "exec"), {})
    label, prob = capsys.readouterr().out.split()
    assert label == expected.label and float(prob) == pytest.approx(expected.prob, abs=0.02)


def test_the_openvino_reader(tmp_path, monkeypatch, capsys, pictures):
    need_openvino()
    pytest.importorskip("onnxscript")
    from imgclf.shipping import exporters, inference

    [code] = blocks(ROOT / "docs" / "openvino.md", "python")
    assert len(code.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    bundle = ROOT / "tests" / "data" / "bundles" / "v1" / "single"
    exporters.export(bundle, "openvino", Path("model.xml"))
    pictures.picture(90, 70).save("photo.jpg")
    [expected] = inference.load(bundle).predict(["photo.jpg"], full_decode=True)
    exec(compile(code, "docs/openvino.md", "exec"), {})
    label, prob = capsys.readouterr().out.split()
    assert label == expected.label and float(prob) == pytest.approx(expected.prob, abs=0.05)


BROWSER = """
import { readFile } from "node:fs/promises";
globalThis.fetch = async (name) => ({ json: async () => JSON.parse(await readFile(name, "utf8")) });
globalThis.createImageBitmap = async (pixels) => ({ width: SIDE, height: SIDE, pixels });
globalThis.OffscreenCanvas = class {
  getContext() { return this; }
  drawImage(photo, ...box) {
    if (`${box}` !== `0,0,${SIDE},${SIDE},0,0,${SIDE},${SIDE}`) throw new Error(`another cut: ${box}`);
    this.pixels = photo.pixels;
  }
  getImageData() { return { data: new Uint8ClampedArray(this.pixels) }; }
};
const { classify } = await import("./reader.mjs");
console.log(JSON.stringify(await classify(await readFile("pixels.rgba"))));
"""


def node_modules():
    """Where npm's packages are: IMGCLF_NODE_MODULES, or those installed for all."""
    node = shutil.which("node")
    named = os.environ.get("IMGCLF_NODE_MODULES") or (
        subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
        if shutil.which("npm")
        else ""
    )
    if node is None or not named or not Path(named, "onnxruntime-web").is_dir():
        pytest.skip("needs Node and the npm package onnxruntime-web (IMGCLF_NODE_MODULES names its folder)")
    return Path(named)


def test_the_javascript_reader_gives_the_same_probabilities(colours, tmp_path, pictures):
    """A browser's decoding is stood in for: the pixels are at the model's size already."""
    modules = node_modules()
    from imgclf.shipping import inference

    [code] = [block for block in blocks(ROOT / "docs" / "onnx.md", "js") if "onnxruntime-web" in block]
    assert len(code.splitlines()) <= 15
    side = colours.size
    image = Image.blend(Image.new("RGB", (side, side), (120, 121, 119)), pictures.noise(side, side), 0.01)
    (tmp_path / "pixels.rgba").write_bytes(image.convert("RGBA").tobytes())
    (tmp_path / "reader.mjs").write_text(code)
    (tmp_path / "main.mjs").write_text(BROWSER.replace("SIDE", str(side)))
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    done = subprocess.run(["node", "main.mjs"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    predictor = inference.load("model.onnx")
    expected = dict(zip(predictor.classes, predictor.probs(np.asarray(image)[None])[0].tolist(), strict=True))
    found = json.loads(done.stdout)
    assert [name for name, _ in found] == sorted(expected, key=lambda name: -expected[name])
    assert dict(found) == pytest.approx(expected, abs=1e-5)
    assert max(expected.values()) < 0.999
