"""What the shell is offered at the Tab key: asked as the shells ask, and in a real bash."""

import os
import pty
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import ROOT

from imgclf import runs
from imgclf.cli import completion
from imgclf.cli import runs as runs_cli
from imgclf.cli.app import main

CLASSES = ["golden retriever", "poodle"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with two runs, one that is broken, and a configuration."""
    monkeypatch.chdir(tmp_path)
    for name, status in (("pets-one", "finished"), ("pets-two", "failed")):
        run = runs.create(Path("runs"), name, "", {})
        run.finish(status)
        runs.write_json(run.file(runs.RECORD), {"classes": CLASSES})
    broken = Path("runs/pets-broken")
    broken.mkdir()
    for file in (runs.MANIFEST, runs.RECORD):
        (broken / file).write_text('{"status": ', encoding="utf-8")
    shutil.copytree("runs", "elsewhere/runs")
    Path("elsewhere/runs/pets-one").rename("elsewhere/runs/cars")
    Path("mine.yaml").write_text("seed: 1\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def offered(monkeypatch, capsys):
    """What bash is offered behind a line; its words as bash makes them."""

    def ask(*words: str) -> list[str]:
        variables = {"_IMGCLF_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["imgclf", *words])}
        for name, value in {**variables, "COMP_CWORD": str(len(words))}.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main([])
        out, err = capsys.readouterr()
        assert err == ""
        return out.splitlines()

    return ask


def test_commands_and_options(offered):
    assert offered("pre") == ["predict"]
    assert offered("data", "") == ["check", "summary", "show"]
    assert offered("train", "--free") == ["--freeze-epochs"]


@pytest.mark.parametrize(
    "command",
    [["evaluate"], ["predict"], ["serve"], ["explain"], ["export"], ["report"], ["runs", "show"], ["compare"]],
)
def test_runs_but_not_the_broken_one(offered, command):
    assert offered(*command, "pe") == ["pets-one", "pets-two"]


def test_every_run_that_is_compared(offered):
    assert offered("compare", "pets-two", "pets-o") == ["pets-one"]


def test_runs_of_another_folder(offered):
    assert offered("evaluate", "--runs-dir", "elsewhere/runs", "") == ["cars", "pets-two"]
    assert offered("evaluate", "--runs-dir", "nowhere", "") == []


def test_resume_has_the_newest_as_well(offered):
    assert offered("train", "--resume", "") == ["latest", "auto", "pets-one", "pets-two"]
    assert offered("evaluate", "la") == []


def test_classes_of_the_model_on_the_line(offered):
    assert offered("explain", "pets-one", "photo.jpg", "--label", "") == ["golden\\ retriever", "poodle"]
    assert offered("explain", "runs/pets-two", "--label", "p") == ["poodle"]
    assert offered("explain", "pets-broken", "--label", "") == []
    assert offered("explain", "no-such-run", "--label", "") == []
    assert offered("explain", "--label", "") == []


def test_classes_of_a_file_whose_record_is_beside_it(offered):
    assert offered("explain", "runs/pets-one/model.safetensors", "--label", "p") == ["poodle"]


@pytest.mark.parametrize("record", ["[]", "3", '{"classes": 3}', '{"classes": [3, null]}', "{}", "\xff"])
def test_damaged_records_offer_nothing(offered, record):
    Path("runs/pets-one/model.json").write_bytes(record.encode("latin-1"))
    assert offered("explain", "pets-one", "--label", "") == []


def test_configurations(offered):
    assert offered("train", "-c", "") == ["digits", "folder", "multilabel", "pets", "table", "mine.yaml"]
    assert offered("train", "-c", "./m") == ["./mine.yaml"]
    assert offered("train", "-c", "[") == []


def test_architectures(offered):
    if not find_spec("timm"):
        pytest.skip("needs timm: pip install 'imgclf[timm]'")
    assert offered("train", "--arch", "resnet1") == ["resnet18", "resnet101", "resnet152"]
    assert offered("train", "--arch", "efficientnetv2_rw") == [f"efficientnetv2_rw_{size}" for size in "tsm"]
    assert offered("compare", "--archs", "resnet18,resnet1") == ["resnet18,resnet101", "resnet18,resnet152"]


def test_words_of_a_few(offered):
    assert offered("compare", "--losses", "bce,m") == ["bce,mse", "bce,mae"]
    assert offered("export", "--format", "torch") == ["torch-export", "torchscript"]
    assert offered("predict", "pets-one", "--format", "j") == ["jsonl", "json"]
    assert offered("evaluate", "--split", "t") == ["train", "test"]
    assert offered("evaluate", "--on", "") == ["value", "low"]
    assert offered("runs", "list", "--sort", "s") == ["started", "seconds", "status"]
    assert offered("serve", "pets-one", "--device", "c") == ["cpu", "cuda"]
    assert offered("lrfind", "--device", "c") == ["cpu", "cuda"]


def test_keys(offered):
    assert offered("train", "--set", "train.lr") == ["train.lr=", "train.lr_mult=", "train.lr_unfrozen="]
    assert offered("train", "--set", "nonsense") == []


def test_the_only_key_comes_with_values_so_that_no_space_is_set_behind_it(offered):
    assert offered("train", "--set", "train.epo") == ["train.epochs=", "train.epochs=3"]
    assert offered("train", "--set", "data.pa") == ["data.path=", "data.pattern="]


@pytest.mark.parametrize(
    ("key", "begun", "values"),
    [
        ("train.loss", "m", ["mse", "mae"]),
        ("data.stratify", "", ["true", "false"]),
        ("model.pretrained", "", ["true", "false", "auto"]),
        ("model.init", "k", ["kaiming_normal", "kaiming_uniform"]),
        ("model.init", "n", ["null"]),
        ("train.freeze_epochs", "", ["auto"]),
        ("train.moms", "", ["\\[0.95,0.85,0.95\\]"]),
        ("train.device", "c", ["cpu", "cuda"]),
        ("model.arch", "resnet3", ["resnet34"]),
        ("train.metrics", "[error_rate,coh", ["\\[error_rate,cohen_kappa\\]"]),
        ("train.trackers", "[m", ["\\[mlflow\\]"]),
        ("train.trackers", "[mlflow,", ["\\[mlflow,tensorboard\\]", "\\[mlflow,wandb\\]"]),
        ("no.such_key", "", []),
        ("train", "", []),
    ],
)
def test_values(offered, key, begun, values):
    """bash makes a word of the "=", and replaces what stands behind it."""
    assert offered("train", "--set", key, "=", begun) == values
    if not begun:
        assert offered("train", "--set", key, "=") == values


def test_a_bash_that_does_not_part_words_at_the_sign(offered):
    assert offered("train", "--set", "train.loss=fo") == ["train.loss=focal"]


def test_words_are_put_together_and_the_rest_is_left_alone():
    assert completion.together(["imgclf", "--set", "a.b", "=", "c"]) == (["imgclf", "--set", "a.b=c"], "a.b=")
    assert completion.together(["imgclf", "--set", "="]) == (["imgclf", "--set="], "--set=")
    assert completion.together(["imgclf", "a", "=", "b", "c"]) == (["imgclf", "a=b", "c"], "")
    assert completion.together(["imgclf", ""]) == (["imgclf", ""], "")


@pytest.mark.parametrize(
    ("shell", "answer"),
    [
        ("zsh", "_arguments '*: :((\"train.loss=focal\"))'\n"),
        ("fish", "train.loss=focal\n"),
    ],
)
def test_zsh_and_fish_replace_the_whole_word(monkeypatch, capsys, shell, answer):
    monkeypatch.setenv("_IMGCLF_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "imgclf train --set train.loss=fo")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit) as end:
        main([])
    assert (end.value.code, capsys.readouterr()) == (0, (answer, ""))


def test_fish_is_told_by_the_exit_code_to_offer_files(monkeypatch):
    monkeypatch.setenv("_IMGCLF_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    codes = {}
    for line in ("imgclf evaluate pe", "imgclf evaluate nothing"):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        with pytest.raises(SystemExit) as end:
            main([])
        codes[line] = end.value.code
    assert codes == {"imgclf evaluate pe": 0, "imgclf evaluate nothing": 1}


def test_a_bug_is_not_shown_on_the_line_that_is_typed(offered, monkeypatch):
    monkeypatch.setattr(runs, "all_runs", lambda _: 1 / 0)
    assert offered("evaluate", "") == []


def test_nothing_is_written_and_nothing_said(offered, here):
    before = sorted(here.rglob("*"))
    assert offered("data", "show", "--out", "new/batch.png", "--presize-d") == ["--presize-demo"]
    assert offered("explain", "pets-one", "--out", "new", "--lab") == ["--label"]
    assert offered("--version", "data", "ch") == ["check"]
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell):
    variables = {**os.environ, "_IMGCLF_COMPLETE": f"source_{shell}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "imgclf"], env=variables, capture_output=True, text=True, check=True)
    assert f"_IMGCLF_COMPLETE=complete_{shell}" in done.stdout


def test_neither_torch_nor_fastai_is_loaded():
    code = """
import os, sys
from imgclf.cli.app import main
for line in sys.argv[1:]:
    words = line.split(",")
    os.environ.update(_IMGCLF_COMPLETE="complete_bash", COMP_WORDS="\\n".join(words), COMP_CWORD=str(len(words) - 1))
    try:
        main([])
    except SystemExit:
        pass
print("loaded:", sorted({"torch", "fastai", "torchvision", "timm", "numpy", "pandas"} & set(sys.modules)))
"""
    lines = [
        "evaluate,",
        "train,--arch,vit",
        "train,-c,",
        "train,--set,train",
        "explain,pets-one,--label,",
        "export,-f,",
    ]
    asked = [f"imgclf,{line}" for line in lines]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")
    assert {"pets-one", "digits", "train.loss=", "poodle", "onnx"} <= set(done.stdout.splitlines())


def test_names_are_those_of_the_registries():
    from imgclf.networks import bodies, timm_models
    from imgclf.shipping.exporters import FORMATS
    from imgclf.training.scores import METRICS
    from imgclf.workflow.listing import ORDERS

    assert list(bodies.BUILDERS) == list(completion.ARCHS)
    assert sorted(FORMATS) == sorted(completion.FORMATS)
    assert list(METRICS) == list(completion.METRICS)
    assert list(ORDERS) == list(runs_cli.ORDERS)
    others = set(timm_models.names()) - set(completion.ARCHS)
    assert others <= set(completion.archs("")) | set(completion._timm_names())


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_in_a_real_bash(here):
    """Keys are typed, Tab among them; the command that then runs says what it got."""
    command = here / "bin/imgclf"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\n[ -z "$_IMGCLF_COMPLETE" ] || exec "{sys.executable}" -m imgclf\nprintf "<%s>" "" "$@"; echo\n'
    )
    command.chmod(0o755)
    (here / "photo.jpg").touch()
    typed = [
        "source <(_IMGCLF_COMPLETE=source_bash imgclf)",
        "imgclf train --set train.loss=fo\t",
        "imgclf train --set train.epo\t7",
        "imgclf train --set model.bn_final=t\t --arc\tresnet3\t",
        "imgclf evaluate pets-o\t",
        "imgclf explain pets-one ph\t --label gold\t",
        "exit",
    ]
    keyboard, terminal = pty.openpty()
    environment = {
        **os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb",
        "HISTFILE": "/dev/null", "INPUTRC": "/dev/null",
    }  # fmt: skip
    bash = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment, cwd=here, start_new_session=True, text=True,
    )  # fmt: skip
    os.close(terminal)
    os.write(keyboard, "".join(f"{line}\n" for line in typed).encode())
    out, _ = bash.communicate(timeout=120)
    os.close(keyboard)
    assert [line for line in out.splitlines() if line.startswith("<>")] == [
        "<><train><--set><train.loss=focal>",
        "<><train><--set><train.epochs=7>",
        "<><train><--set><model.bn_final=true><--arch><resnet34>",
        "<><evaluate><pets-one>",
        "<><explain><pets-one><photo.jpg><--label><golden retriever>",
    ]
