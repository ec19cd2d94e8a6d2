"""A home folder in which the commands of the documents run as they stand, small.

What is smaller than a reader's, and nothing else: images of 32 pixels, at most two epochs, networks an eighth as wide
and with a block or two a stage (``small_networks``), 200 embedded digits, weights that were never trained. ``SMALL`` is
put behind the commands that take ``--set``.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import documents
import pytest
import standins
from support import ROOT, Done, run_here

TAKES_SETTINGS = {"train", "lrfind", "compare", "bench", "data"}
SMALL = {
    "augment.size": 32,
    "augment.presize": 40,
    "data.workers": 0,
    "train.precision": "fp32",
    "train.device": "cpu",
}
EPOCHS = 2
PORT = re.compile(r"(?<=127\.0\.0\.1:)8000")


def small_networks(patch: pytest.MonkeyPatch) -> None:
    """torchvision's ResNets, an eighth of the channels after the stem and fewer blocks: four stages by the same names.

    The deeper of two stays the larger. Most of the time of an export goes by the number of layers.
    """
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock, Bottleneck

    from imgclf.networks import bodies

    class Narrow(ResNet):
        def _make_layer(self, block, planes, *rest, **named):
            return super()._make_layer(block, planes // 8, *rest, **named)

        def __init__(self, block, layers, n_classes=1000):
            super().__init__(block, layers)
            from torch import nn

            self.fc = nn.Linear(64 * block.expansion, n_classes)

    depths = {18: (1, 1, 1, 1), 34: (2, 1, 1, 1), 50: (1, 1, 1, 1), 101: (1, 1, 2, 1), 152: (1, 2, 2, 1)}
    for depth, layers in depths.items():
        block = BasicBlock if depth < 50 else Bottleneck
        patch.setitem(
            bodies.BUILDERS,
            f"resnet{depth}",
            lambda weights=None, num_classes=1000, b=block, n=layers: Narrow(b, n, num_classes),
        )


def few_digits(patch: pytest.MonkeyPatch) -> None:
    """The embedded digits: the first 200 of them."""
    import sklearn.datasets

    from imgclf.data import digits

    whole = sklearn.datasets.load_digits()
    few = SimpleNamespace(images=whole.images[:200], target=whole.target[:200])
    patch.setattr(sklearn.datasets, "load_digits", lambda: few)
    patch.setattr(digits, "N_IMAGES", 200)


class Sandbox:
    """Runs blocks in ``home``, one after another; what goes wrong is an ``AssertionError`` naming the line."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.names: dict[str, object] = {}
        self.server: subprocess.Popen | None = None
        self.port = "8000"

    def block(self, block: documents.Block, codes: dict[str, set[int]]) -> None:
        """Run a block; ``codes`` has the exit codes that a command of the page may end with, if not with 0."""
        if block.language == "python":
            self.python(block)
            return
        for command in block.commands:
            standins.provide(self, command)
            done = self.line(standins.named(command))
            told = f"{block}: {command}\nexit code {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
            assert done.returncode in codes.get(command, {0}), told

    def python(self, block: documents.Block) -> None:
        """Run Python as one program with the page's blocks before it; one that names its file is written there too."""
        standins.provide(self, block.body)
        if file := re.search(r"# (\w+\.py)$", block.body, re.MULTILINE):
            (self.home / file[1]).write_text(block.body)
        exec(compile(block.body, str(block), "exec"), self.names)

    def line(self, command: str) -> Done:
        """Run a line as its kind asks for."""
        kind = documents.kind(command)
        assert kind, f"nothing here runs {command!r}"
        if kind == "script":
            return self.script(shlex.split(command, comments=True)[1:])
        if kind == "pip":
            return extras(command)
        done = Done(0, "", "")
        for stage in documents.stages(command):
            words, _, target = (list(part) for part in partition(stage, ">"))
            done = self.imgclf(words[1:], done.stdout) if words[0] == "imgclf" else self.shell(words, done.stdout)
            if target:
                (self.home / target[0]).write_text(done.stdout)
        return done

    def imgclf(self, words: list[str], stdin: str) -> Done:
        """The command in this process, smaller; ``serve`` in one of its own, until ``close``."""
        arguments = smaller(self.expand(words))
        if arguments[0] == "serve":
            return self.serve(arguments)
        if "--name" in arguments:  # free for each reader
            shutil.rmtree(self.home / "runs" / arguments[arguments.index("--name") + 1], ignore_errors=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            return run_here(*arguments, cwd=self.home)

    def expand(self, words: list[str]) -> list[str]:
        """What the shell makes of words: ``~``, patterns, quotes."""
        command = ["bash", "-c", rf"printf '%s\0' {' '.join(words)}"]
        made = subprocess.run(command, cwd=self.home, capture_output=True, text=True, check=True)
        return made.stdout.split("\0")[:-1]

    def shell(self, words: list[str], stdin: str) -> Done:
        """A small program of the system, its failure a failure."""
        command = PORT.sub(self.port, " ".join(words))
        command = command.replace("curl ", "curl --fail-with-body --silent --show-error ", 1)
        done = subprocess.run(["bash", "-c", command], cwd=self.home, input=stdin, capture_output=True, text=True)
        return Done(done.returncode, done.stdout, done.stderr)

    def script(self, words: list[str]) -> Done:
        """A script of the project up to its options: they must be there and fit. Nothing is measured."""

        class Parsed(Exception):
            pass

        parse = argparse.ArgumentParser.parse_args

        def stop(parser, *rest):
            parse(parser, *rest)
            raise Parsed

        spec = importlib.util.spec_from_file_location("script_of_the_page", ROOT / words[0])
        module, err = importlib.util.module_from_spec(spec), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(err):
            patch.setattr(argparse.ArgumentParser, "parse_args", stop)
            patch.setattr(sys, "argv", words)
            patch.syspath_prepend(ROOT / "scripts")
            try:
                spec.loader.exec_module(module)
                module.main()
            except Parsed:
                return Done(0, "", "")
            except SystemExit as end:
                return Done(int(end.code or 0), "", err.getvalue())
        return Done(1, "", f"{words[0]} has no options to look at")

    def serve(self, arguments: list[str]) -> Done:
        """Start the server and wait until it has said where it listens."""
        self.close()
        code = "import pytest, sandbox; sandbox.small_networks(pytest.MonkeyPatch())\n"
        code += "from imgclf.cli.app import main; main()"
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "data")])
        with tempfile.TemporaryFile("w+") as told:
            self.server = subprocess.Popen(
                [sys.executable, "-c", code, *arguments, "--port", "0"],
                cwd=self.home, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=told, text=True,
            )  # fmt: skip
            address = self.server.stdout.readline().strip()
            told.seek(0)
            self.port = address.rpartition(":")[2]
            return Done(0 if address else self.server.wait(), address, told.read())

    def close(self) -> None:
        """End the server, if there is one."""
        if self.server is not None:
            self.server.terminate()
            self.server.communicate(timeout=60)
            self.server = None


def partition(words: list[str], mark: str) -> tuple[list[str], list[str], list[str]]:
    """As ``str.partition`` does it, of a list."""
    at = words.index(mark) if mark in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


def smaller(arguments: list[str]) -> list[str]:
    """The arguments with ``SMALL`` behind them, if the command takes settings and does not go on with a run's own."""
    goes_on = "--resume" in arguments and "auto" not in arguments  # auto: a run of that name, of which there is none
    if arguments[0] not in TAKES_SETTINGS or goes_on:
        return arguments
    if arguments[0] == "compare" and not {"--archs", "--losses", "--lrs"} & set(arguments):
        return arguments  # finished runs, as they are
    text = " ".join(arguments)
    settings = dict(SMALL)
    shown = re.search(r"(?:--epochs|-e|train\.epochs=?)[ =]?(\d+)", text)
    settings["train.epochs"] = min(EPOCHS, int(shown[1]) if shown else EPOCHS)
    if "augment.sizes=" in text:
        settings["augment.sizes"] = "[24, 32]"
    if "train.schedule=staged" in text:
        del settings["train.epochs"]
    return [*arguments, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]


def extras(command: str) -> Done:
    """`pip install`: nothing is installed, but the extras that are named must be there."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("optional-dependencies]")[2]
    known = re.findall(r"^(\w+) = \[", project.partition("\n[")[0], re.MULTILINE)
    asked = [extra for group in re.findall(r"(?:imgclf|\.)\[([\w,]+)\]", command) for extra in group.split(",")]
    missing = [extra for extra in asked if extra not in known]
    return Done(1 if missing else 0, "", f"no extra {missing}")
