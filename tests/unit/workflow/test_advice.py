"""Advice follows from the figures: each appears when they say so, and not otherwise."""

from dataclasses import replace

import pytest

from imgclf.workflow.advice import Measured, advise, verdict

# A large card that is kept busy, by eight workers on sixteen cores: nothing to change.
BALANCED = Measured(
    decode=1.5, augment=2.5, collate=0.0, transfer=0.02, prepare=0.02, forward=0.15, backward=0.3, optimizer=0.05,
    rest=0.01, pipeline=2000, step=1800, both=1750, inference=5000, waiting=0.02, batch_size=64, n_train=10_000,
    workers=16, cores=16, threads=8, device="cuda", precision="bf16", engine="fused", cache="none", arch="resnet18",
    size=224,
)  # fmt: skip
STARVED = replace(BALANCED, pipeline=900, waiting=0.5)
BUSY = replace(BALANCED, pipeline=5000)
ON_CPU = replace(
    BALANCED, device="cpu", forward=20.0, backward=40.0, optimizer=1.0, pipeline=500, step=16, workers=2, cores=2,
    threads=2,
)  # fmt: skip


def options(m: Measured) -> list[str]:
    return [a.option for a in advise(m)]


def test_nothing_is_advised_where_nothing_waits():
    assert advise(BALANCED) == []
    assert verdict(BALANCED) == (
        "the loader feeds 2000 images/s, the network takes 1800 images/s: neither waits long for the other"
    )


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (replace(STARVED, decode=6.0), ["--set data.cache=disk"]),
        (replace(STARVED, decode=6.0, cache="ram"), []),
        (replace(STARVED, decode=1.0), []),  # it is the augmentation
        (replace(BALANCED, decode=6.0), []),  # nobody waits for it
        (replace(ON_CPU, decode=25.0), ["--set data.cache=disk", "--size 160"]),  # 17 % of the processor's work
        (replace(ON_CPU, decode=20.0), ["--size 160"]),
    ],
    ids=["most of it", "cached", "augmentation", "not waited for", "shared cores", "too little"],
)
def test_keeping_decoded_images(m, expected):
    assert options(m) == expected


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (replace(STARVED, workers=4), ["--set data.workers=16"]),
        (STARVED, []),  # one a core already
        (replace(STARVED, workers=4, pipeline=300), []),  # four of 250 images/s give no more: something else is slow
        (replace(BALANCED, workers=4), []),
        (replace(STARVED, workers=0, pipeline=250), ["--set data.workers=8"]),
        (replace(STARVED, workers=0, threads=16), []),
        (replace(STARVED, workers=0, waiting=0.1), []),
    ],
    ids=["idle cores", "one a core", "other limit", "not starved", "none", "no idle core", "tiny images"],
)
def test_more_workers(m, expected):
    assert options(m) == expected


def test_the_fused_engine_where_the_batch_is_augmented_for_long():
    slow = replace(BALANCED, engine="fastai", prepare=0.5)
    assert options(slow) == ["--set augment.engine=fused"]
    assert options(replace(slow, prepare=0.05)) == []
    assert options(replace(slow, engine="fused")) == []


def test_another_precision_where_it_is_clearly_faster():
    slow = replace(BALANCED, precision="fp32", quicker=("bf16", 2.1))
    assert options(slow) == ["--set train.precision=bf16"]
    assert "2.1 times as fast here as in fp32" in advise(slow)[0].why
    assert options(replace(slow, quicker=("bf16", 1.1))) == []
    assert options(replace(slow, precision="bf16")) == []
    assert options(replace(slow, pipeline=900, waiting=0.5)) == []


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (BUSY, ["--size 160"]),
        (replace(BUSY, arch="resnet50"), ["--size 160", "--arch resnet18"]),
        (replace(BUSY, size=128), []),
        (replace(BUSY, prepare=2.0), []),  # the network is not where the time goes
        (replace(BALANCED, arch="resnet50"), []),
        (replace(STARVED, arch="resnet50"), []),
    ],
    ids=["size", "arch", "small", "elsewhere", "balanced", "starved"],
)
def test_less_to_compute_where_the_network_is_the_limit(m, expected):
    assert options(m) == expected


def test_a_larger_batch_where_the_optimizer_takes_long():
    slow = replace(BALANCED, optimizer=0.3)
    assert options(slow) == ["--batch-size 128"]
    assert options(replace(slow, n_train=100)) == []
    assert options(replace(slow, waiting=0.5, pipeline=900)) == []


def test_the_verdict_names_who_waits():
    assert verdict(STARVED).endswith(": 50% of the time it waits for data")
    assert verdict(BUSY).endswith("the network takes 1800 images/s: more workers would not help")
    assert verdict(replace(BUSY, step=2.5)).endswith("takes 2.5 images/s: more workers would not help")
    assert "one after the other (data.workers: 0): 50% of the time is loading" in verdict(replace(STARVED, workers=0))
    on_cpu = verdict(replace(ON_CPU, both=11))
    assert on_cpu.endswith(", both together 11 images/s: they share the 2 cores of this processor")
    assert verdict(replace(ON_CPU, both=15)).endswith("more workers would not help")
