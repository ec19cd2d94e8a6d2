"""What a user, or a program, sees of mistakes: one message with a way out, the right exit code, clean streams."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imgclf import runs
from imgclf.cli.app import run

ROOT = Path(__file__).parents[2]
HAS_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and newline; \r and escape among them


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def imgclf(capsys):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


def in_a_process(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "imgclf", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


# (arguments, exit code, what the message holds)
MISTAKES = [
    (["trian"], 2, "'train'"),
    (["config", "shwo"], 2, "'show'"),
    (["data", "chekc"], 2, "'check'"),
    (["train", "--epoch", "3"], 2, "--epochs"),
    (["data", "check", "--strcit"], 2, "--strict"),
    (["train", "--epochs", "many"], 2, "--epochs"),
    (["train", "--epochs"], 2, "--epochs"),
    (["predict"], 2, "Missing argument"),
    (["predict", "run"], 2, "paths"),
    (["predict", "run", "x.jpg", "--format", "jsnl"], 2, "Did you mean 'jsonl'?"),
    (["predict", "run", "x.jpg", "--top-k", "0"], 2, "--top-k"),
    (["config", "show", "--set", "train.epoch=3"], 2, "Did you mean 'train.epochs'?"),
    (["config", "show", "--set", "train.epochs"], 2, "no '='"),
    (["data", "check", "--set", "data.channels=2"], 2, "data.channels: Input should be 'auto', 1 or 3, got 2"),
    (["data", "check", "--set", "data.balance=x"], 2, "data.balance: Input should be 'none', 'sampler' or 'loss'"),
    (["data", "check", "--set", "data.on_leak=x"], 2, "data.on_leak: Input should be 'warn', 'fix' or 'fail'"),
    (["data", "check", "--set", "data.extra_classes=x"], 2, "data.extra_classes: Input should be 'ignore' or 'fail'"),
    (
        ["config", "check", "--set", "augment.crop_pct=1.5"],
        2,
        "Input should be 'auto' or less than or equal to 1, got 1.5",
    ),
    (["config", "check", "--set", "train.class_weights={cat: -1}"], 2, "train.class_weights: cat: Input should be"),
    (["config", "show", "-c", "digts"], 2, "Did you mean 'digits'?"),
    (["config", "check", "-c", "nowhere.yaml"], 2, "no configuration 'nowhere.yaml'"),
    (["config", "check", "--lr", "fast"], 2, "train.lr"),
    (["config", "check", "--lr", "nan"], 2, "train.lr"),
    (["config", "check", "--batch-size", "0"], 2, "data.batch_size"),
    (["config", "check", "--data", ""], 2, "data.path"),
    (["config", "check", "--size", "64", "--presize", "32"], 2, "augment.presize"),
    (["data", "show", "--out", "batch.xyz"], 2, "batch.xyz"),
    (["data", "show", "--out", "batch"], 2, ".png"),
    (["data", "show", "--out", "/dev/null/batch.png"], 2, "cannot be written"),
    (["lrfind", "--plot", "curve.xyz"], 2, "curve.xyz"),
    (["data", "check", "-d", "nowhere"], 3, "no such file or folder"),
    (["train", "-d", "digits", "--arch", "resnt18", "--runs-dir", "new"], 2, "Did you mean 'resnet18'?"),
    (["train", "-d", "nowhere", "--runs-dir", "new"], 3, "no such file or folder"),
    (["train", "--set", "model.weights=nowhere.pth", "--runs-dir", "new"], 4, "no such file: "),
    (["runs", "show"], 4, "no finished run"),
    (["runs", "show", "nowhere"], 4, "no run 'nowhere'"),
    (["evaluate", "nowhere"], 4, "no run 'nowhere'"),
    (["export", "nowhere"], 4, "no run 'nowhere'"),
    (["predict", "nowhere", "x.jpg"], 4, "no run 'nowhere'"),
    (["verify", "nowhere.onnx"], 4, "nowhere.onnx"),
    (["export", "nowhere", "--all", "--images", "9"], 2, "leave one out"),
    (["export", "nowhere", "-f", "pkl", "--int8"], 2, "--format onnx"),
    (["export", "nowhere", "-f", "torchexport"], 2, "Did you mean 'torch-export'"),
]
WITH_JSON = [m for m in MISTAKES if m[0] not in (["train", "--epochs"],)] + [
    (["predict", "run", "x.jpg", "--format", "csv"], 2, "--json and --format csv exclude each other"),
    (["predict", "run", "x.jpg", "--format", "jsonl"], 2, "leave out --json"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "said"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_mistake_is_told_on_stderr_without_a_traceback(imgclf, here, arguments, code, said):
    got, out, err = imgclf(*arguments)
    assert (got, out) == (code, "")
    assert "error: " in err
    assert said.lower() in err.lower()
    assert "Traceback" not in err
    assert not HAS_CONTROL.search(err)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"), WITH_JSON, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_with_json_a_mistake_is_one_document_on_stdout(imgclf, arguments, code, said):
    got, out, _ = imgclf(*arguments, "--json")
    assert got == code
    document = json.loads(out)
    assert set(document) == {"error"}
    assert set(document["error"]) == {"type", "message", "hint", "exit_code"}
    assert document["error"]["exit_code"] == code
    assert isinstance(document["error"]["message"], str) and document["error"]["message"]
    assert document["error"]["hint"] is None or document["error"]["hint"]
    assert said.lower() in (document["error"]["message"] + str(document["error"]["hint"])).lower()


@pytest.mark.parametrize("command", [["config", "show", "-c"], ["runs", "show"], ["data", "check", "-d"]])
def test_several_names_in_one_pair_of_quotes_are_no_bug(imgclf, command):
    code, out, err = imgclf(*command, " ".join(f"{i}.jpg" for i in range(100)))
    assert code in (2, 3, 4)  # newer Pythons say of such a name that it is not there
    assert (out, "0.jpg 1.jpg 2.jpg" in err) == ("", True)


def test_a_hint_names_the_help_of_the_very_command(imgclf):
    assert "imgclf config show --help" in imgclf("config", "show", "--nope")[2]


def test_debug_shows_the_traceback_and_keeps_the_exit_code(imgclf):
    code, _, stderr = imgclf("data", "check", "-d", "nowhere", "--debug")
    assert code == 3
    assert "Traceback" in stderr


def test_a_bug_keeps_its_traceback_and_with_json_still_writes_one_document(imgclf, capsys, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("imgclf.runs.all_runs", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(["runs", "list"])
    capsys.readouterr()
    with pytest.raises(RuntimeError, match="a bug"):
        run(["runs", "list", "--json"])
    wanted = {"type": "RuntimeError", "message": "a bug", "hint": None, "exit_code": 1}
    assert json.loads(capsys.readouterr().out) == {"error": wanted}


def test_ctrl_c_ends_with_130(imgclf, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("imgclf.runs.all_runs", stopped)
    code, out, err = imgclf("runs", "list")
    assert (code, out) == (130, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("group", [[], ["data"], ["config"], ["runs"]])
def test_no_command_shows_the_help_and_no_empty_error(imgclf, group):
    code, out, err = imgclf(*group)
    assert code == 2
    assert "Usage" in out + err
    assert "error" not in err


def test_version(imgclf):
    from imgclf import __version__

    assert imgclf("--version") == (0, f"imgclf {__version__}\n", "")


def test_the_command_is_installed_under_its_name():
    assert '[project.scripts]\nimgclf = "imgclf.cli.app:main"' in (ROOT / "pyproject.toml").read_text()


# Configuration


def test_config_show_gives_every_key_value_and_origin(imgclf):
    from imgclf.schema import leaves

    code, out, err = imgclf("config", "show", "-c", "pets", "-d", "x", "-e", "5", "--set", "train.lr=1e-3", "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert set(shown) == set(leaves())
    assert shown["train.epochs"] == {"value": 5, "origin": "--epochs"}
    assert shown["train.lr"] == {"value": 0.001, "origin": "--set train.lr"}
    assert shown["data.path"] == {"value": str(Path("x").absolute()), "origin": "--data"}
    assert re.search(r"pets\.yaml:\d+$", shown["data.labels"]["origin"])


def test_a_key_that_holds_a_mapping_is_one_key(imgclf):
    _, out, _ = imgclf("config", "show", "--set", "train.class_weights={cat: 2.5}", "--json")
    assert json.loads(out)["train.class_weights"]["value"] == {"cat": 2.5}


def test_every_flag_reaches_its_key(imgclf):
    from imgclf.cli.options import KEYS

    given = {
        "--data": "photos", "--arch": "resnet50", "--epochs": 7, "--freeze-epochs": 2, "--batch-size": 8, "--lr": 0.01,
        "--size": 64, "--presize": 80, "--seed": 3, "--device": "cpu",
    }  # fmt: skip
    flags = [str(part) for pair in given.items() for part in pair]
    shown = json.loads(imgclf("config", "show", *flags, "--offline", "--json")[1])
    for flag, value in {**given, "--offline": True}.items():
        key = KEYS[flag.strip("-").replace("-", "_")]
        assert shown[key]["origin"] == flag
        assert shown[key]["value"] == (str(Path(value).absolute()) if flag == "--data" else value)


@pytest.mark.parametrize(("given", "value"), [("1e-3", 0.001), ("1", 1.0), ("auto", "auto")])
def test_lr_is_a_number_or_auto(imgclf, given, value):
    assert json.loads(imgclf("config", "show", "--lr", given, "--json")[1])["train.lr"]["value"] == value


def test_a_piped_table_has_one_line_a_key_whatever_its_length(imgclf):
    from imgclf.schema import leaves

    deep = "/" + "/".join(["folder"] * 40)
    _, out, _ = imgclf("config", "show", "-d", deep)
    assert len(out.splitlines()) == 1 + len(leaves())
    assert deep in out


def test_config_init_writes_a_valid_file_once(imgclf, here):
    code, out, err = imgclf("config", "init", "-d", "digits")
    assert (code, out) == (0, "imgclf.yaml\n")
    assert "config check -c imgclf.yaml" in err
    before = (here / "imgclf.yaml").read_text()
    code, out, err = imgclf("config", "init", "-d", "other")
    assert (code, out) == (2, "")
    assert "exists already" in err and "--force" in err
    assert (here / "imgclf.yaml").read_text() == before
    assert imgclf("config", "init", "-d", "other", "--force")[0] == 0
    assert imgclf("config", "check")[:2] == (0, "imgclf.yaml: valid\n")


def test_config_init_where_it_cannot_write(imgclf, here):
    (here / "folder").mkdir()
    for target in ("folder", "/dev/null/x.yaml"):
        code, _, err = imgclf("config", "init", target, "--force")
        assert code == 2
        assert f"cannot write {target}" in err


def test_config_check_says_what_is_valid(imgclf):
    code, out, err = imgclf("config", "check", "-c", "digits", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["valid"] is True


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_config_schema_is_one_json_document(imgclf, options):
    code, out, err = imgclf("config", "schema", *options)
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "Config"


# Runs


def test_runs_list_shows_good_and_damaged_runs(imgclf, here):
    runs.create(here / "runs", "good", "", {}).finish("finished", arch="resnet18", result={"best": {"error_rate": 0.1}})
    runs.create(here / "runs", "damaged", "", {}).file(runs.MANIFEST).write_text("{")
    code, out, _ = imgclf("runs", "list", "--json")
    listed = {row["name"]: row for row in json.loads(out)["runs"]}
    assert code == 0
    assert (listed["good"]["status"], listed["good"]["error_rate"]) == ("finished", 0.1)
    assert listed["damaged"]["status"] == "damaged"
    code, out, _ = imgclf("runs", "list")
    assert "good" in out and "0.1" in out


@pytest.mark.parametrize(
    ("width", "hidden"), [(120, []), (90, ["differs in"]), (60, ["n_valid", "seconds", "differs in"])]
)
def test_runs_list_leaves_out_columns_for_which_a_terminal_has_no_room(imgclf, here, monkeypatch, width, hidden):
    monkeypatch.setattr("imgclf.console.PIPE_WIDTH", width)
    run = here / "runs" / "pets-resnet18"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"status": "finished"}))
    (run / "config.yaml").write_text("version: 1\ndata: {path: photos}\n")
    _, out, err = imgclf("runs", "list")
    assert run.name in out
    assert [c for c in ("n_valid", "seconds", "differs in") if c not in out.splitlines()[0]] == hidden
    assert (", ".join(hidden) in err) and bool(hidden) == ("no room" in err)


def test_no_runs_is_an_empty_list(imgclf):
    code, out, err = imgclf("runs", "list", "--json")
    assert (code, json.loads(out)) == (0, {"runs": []})
    assert "no runs under runs" in err


def test_runs_show_lists_what_is_known_and_the_files(imgclf, here):
    runs.create(here / "elsewhere", "mine", "", {"command": "c"}).finish("finished")
    code, out, _ = imgclf("runs", "show", "--runs-dir", "elsewhere", "--json")
    shown = json.loads(out)
    assert (code, shown["name"], shown["files"]) == (0, "mine", [runs.CONFIG, runs.MANIFEST])


# Streams


def test_quiet_leaves_the_result_alone(imgclf):
    assert imgclf("config", "init", "--quiet") == (0, "imgclf.yaml\n", "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "--json"]])
def test_a_reader_that_leaves_early_is_no_error(arguments, buffered):
    settings = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "imgclf", *arguments]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False, env=settings)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_that_knows_only_ascii_is_no_error(here):
    settings = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    document = in_a_process("config", "show", "-d", "/Löwen/猫", "--json", env=settings)
    assert document.returncode == 0, document.stderr
    assert json.loads(document.stdout)["data.path"]["value"] == "/Löwen/猫"
    assert in_a_process("config", "show", "-d", "/Löwen/猫", env=settings).returncode == 0
    error = in_a_process("data", "check", "-d", "/Löwen/猫", "--json", env=settings)
    assert error.returncode == 3
    assert "/Löwen/猫" in json.loads(error.stdout)["error"]["message"]


def test_a_real_process_ends_with_the_code_and_without_a_traceback(here):
    done = in_a_process("data", "check", "-d", "nowhere")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"error: no such file or folder")
    assert not HAS_CONTROL.search(done.stderr.decode())


def told_by(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout


def test_a_wrong_path_is_told_before_torch_is_imported(tmp_path):
    code = "import sys; from imgclf.cli.app import run; code = run(['train', '-d', 'nowhere'])"
    assert told_by(f"{code}; print(code, {{'torch', 'fastai'}} & set(sys.modules))", tmp_path) == "3 set()\n"


def test_at_the_end_no_garbage_is_looked_for(tmp_path):
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    assert told_by(f"{code}; from imgclf.cli.app import main; main(['--version'])", tmp_path).endswith("True\n")
