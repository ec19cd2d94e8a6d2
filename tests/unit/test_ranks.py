"""Several processes: what is refused before anything is started, and who tells an error."""

import os

import pytest
import torch
from support import run_here

from imgclf import ranks
from imgclf.errors import DataError, UserError
from imgclf.training import devices


@pytest.fixture
def second(monkeypatch):
    """The second of two processes of one machine."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_a_process_alone_is_the_first(monkeypatch):
    monkeypatch.setenv("RANK", "1")  # of something else: nobody says that there are several
    assert (ranks.world(), ranks.rank(), ranks.local_rank(), ranks.is_first()) == (1, 0, 0, True)


def test_the_variables_of_torchrun_say_which_process_this_is(second):
    assert (ranks.world(), ranks.rank(), ranks.local_rank(), ranks.is_first()) == (2, 1, 1, False)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_variables_that_are_no_numbers_are_told(monkeypatch, tmp_path, name):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, "abc")
    done = run_here("train", cwd=tmp_path)
    assert (done.returncode, f"{name} is 'abc'" in done.stderr) == (2, True), done.stderr


def test_more_processes_than_devices_are_refused(make_config, monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.processes(make_config(**{"train.devices": 2, "train.device": "cpu"})) == 2
    with pytest.raises(UserError, match=r"train.devices: 3, but this machine has 2 processor cores"):
        devices.processes(make_config(**{"train.devices": 3}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"train.devices: 2, but this machine has 1 CUDA devices"):
        devices.processes(make_config(**{"train.devices": 2}))
    with pytest.raises(UserError, match="cuda:0 is one"):
        devices.processes(make_config(**{"train.devices": 2, "train.device": "cuda:0"}))


def test_each_process_has_the_gpu_of_its_number(make_config, monkeypatch, second):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cfg = make_config(**{"train.precision": "fp32"})
    assert str(devices.resolve(cfg).device) == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="process 1 of this machine has no GPU: there are 1"):
        devices.resolve(cfg)


def test_without_accelerate_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("imgclf.workflow.together.find_spec", lambda name: None)
    monkeypatch.setattr(devices, "cores", lambda: 2)
    done = run_here("train", "--devices", "2", "--device", "cpu", cwd=tmp_path)
    assert (done.returncode, "imgclf[distributed]" in done.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["lrfind"], ["train", "--dry-run"]])
def test_only_a_training_runs_in_several_processes(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run_here(*arguments, cwd=tmp_path)
    assert (done.returncode, "only a training runs in several" in done.stderr) == (2, True)


def test_one_process_of_a_machine_tells_a_mistake(tmp_path, monkeypatch, second):
    told = {}
    for local_rank in "01":
        monkeypatch.setenv("LOCAL_RANK", local_rank)
        done = run_here("train", "--epochs", "-1", cwd=tmp_path)
        assert done.returncode == 2
        told[local_rank] = "train.epochs" in done.stderr
    assert told == {"0": True, "1": False}


def test_too_few_images_for_so_many_processes():
    from imgclf.data.loaders import choose_batch_size

    assert choose_batch_size(64, 100, 4)[0] == 25
    assert choose_batch_size("auto", 2000, 4)[0] == 32  # 15 steps of 4 x 32
    with pytest.raises(DataError, match="7 training images are too few for 4 processes"):
        choose_batch_size(8, 7, 4)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux gives a process some of the cores")
def test_cores_are_those_the_process_may_use():
    from imgclf.cores import cores

    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)
