"""Memory that is freed: how often the system has to hand it out again. Counted in processes of their own."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imgclf import memory
from imgclf.config import load_config
from imgclf.data import placed
from imgclf.data.images import Preprocess
from imgclf.shipping.forward import torch_forward
from imgclf.training import devices

glibc = pytest.mark.skipif(memory._function("mallopt") is None, reason="another C library than glibc")
LARGE = """
import os, resource
from pathlib import Path
from imgclf import memory

PAGES = (64 << 20) // resource.getpagesize()  # of what is made and freed below

def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"x") * (64 << 20)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / PAGES

def held(process="self"):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) / PAGES
"""


def told(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", LARGE + code], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


@glibc
def test_what_was_freed_is_used_again():
    first, second, kept = told(
        "touched(); print(touched(), touched()); memory.keep_freed(); touched(); print(touched())"
    )
    assert min(first, second) > 0.9, "the system hands the pages out each time"
    assert kept < 0.1


@glibc
def test_it_can_be_given_back():
    kept, given = told("memory.keep_freed(); start = held(); touched(); print(held() - start)\n"
                       "memory.give_back(); print(held() - start)")  # fmt: skip
    assert kept > 0.9
    assert given < 0.1


@glibc
def test_a_fork_after_that_shares_none_of_it():
    code = """
import signal
memory.keep_freed(); touched(); {}
child = os.fork()
if not child:
    signal.pause()
print(held(child))
os.kill(child, 9); os.waitpid(child, 0)
"""
    shared, alone = told(code.format(""))[0], told(code.format("memory.give_back()"))[0]
    assert shared - alone > 0.9


@pytest.mark.parametrize("other", ["darwin", "win32"])
def test_elsewhere_nothing_is_asked(other, monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", other)
    assert memory._function.__wrapped__("mallopt") is None


def test_a_c_library_without_them_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr(memory, "_function", memory._function.__wrapped__)
    memory.keep_freed.__wrapped__()
    memory.give_back()


@pytest.fixture
def asked(monkeypatch):
    names: list[str] = []
    for name in ("keep_freed", "give_back"):
        monkeypatch.setattr(memory, name, lambda name=name: names.append(name))
    return names


def test_training_on_a_processor_keeps_it(asked):
    devices.resolve(load_config("folder", **{"train.device": "cpu"}))
    assert asked == ["keep_freed"]


def test_prediction_on_a_processor_keeps_it(asked):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2)))
    net[1](net[0](torch.zeros(1, 3, 8, 8)))
    torch_forward(net, Preprocess(8), "cpu")(np.zeros((1, 8, 8, 3), np.uint8))
    assert asked == ["keep_freed"]


@pytest.mark.parametrize(("workers", "expected"), [(0, []), (2, ["give_back"])])
def test_it_is_given_back_before_processes_are_started(workers, expected, asked):
    loader = placed.PlacedLoader(list(range(4)), bs=2, num_workers=workers)
    assert len(list(loader)) == 2
    assert asked == expected
