"""Parts of a batch: their gradients are the whole batch's, and memory that runs out makes them smaller."""

import pytest
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.vision.all import Callback, CutMix, DataLoader, DataLoaders, GradientClip, Learner, MixUp, noop
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imgclf.errors import ConfigError, RunError
from imgclf.training import faults
from imgclf.training.losses import LOSSES, Knobs
from imgclf.training.micro import SMALLEST, MicroBatches
from imgclf.training.precision import Autocast

N, C, SIDE = 9, 3, 6


class Spy(Callback):
    """Look at the learner after each training batch."""

    order = 90

    def __init__(self, look) -> None:
        self.look = look

    def after_batch(self):
        if self.training:
            self.look(self.learn)


class Crowded(nn.Module):
    """A layer that has room for so many images, in its forward or its backward pass, once ``step`` batches are done."""

    def __init__(self, room: int, where: str = "forward", error: Exception | None = None, step: int = 0) -> None:
        super().__init__()
        self.room, self.where, self.step, self.seen = room, where, step, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    def forward(self, x):
        self.seen.append(len(x))
        full = len(x) > self.room and len(self.seen) > self.step
        if full and self.where == "forward":
            raise self.error
        if full and x.requires_grad:
            x.register_hook(self._fail)
        return x

    def _fail(self, gradient):
        raise self.error


def learner(
    parts=1, loss="cross_entropy", task="single", weight=None, cbs=(), crowded=None, bn=True, dtype=torch.float64
) -> Learner:
    """A small network; without ``bn`` nothing in it depends on what else is in a part."""
    torch.manual_seed(0)
    targets = torch.randint(0, 2, (2 * N, C)).to(dtype) if task == "multi" else torch.arange(2 * N) % C
    rows = [(torch.rand(3, SIDE, SIDE, dtype=dtype), target) for target in targets]
    dls = DataLoaders(*[DataLoader(rows, bs=N) for _ in range(2)])
    middle = [nn.BatchNorm2d(4), crowded or nn.Identity()] if bn else [crowded or nn.Identity()]
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Flatten(), nn.Dropout(0.5 * bn), nn.Linear(64, C)).to(dtype)
    weights = None if weight is None else torch.tensor(weight, dtype=dtype)
    learn = Learner(dls, net, loss_func=LOSSES[task][loss](Knobs(0.1, 2.0), weights), cbs=list(cbs), train_bn=bn)
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    MicroBatches(N, parts).install(learn)
    return learn


def fitted(learn: Learner, epochs: int = 2) -> list[torch.Tensor]:
    """Weights, statistics, losses and figures after a short training."""
    torch.manual_seed(1)
    learn.fit(epochs, lr=1e-2)
    values = learn.recorder.values[-1]
    return [*learn.model.state_dict().values(), torch.stack(learn.recorder.losses), torch.tensor(values)]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("mix", [None, MixUp, CutMix])
@pytest.mark.parametrize("weight", [None, [0.5, 3.0, 1.0]])
@pytest.mark.parametrize(("task", "loss"), [(task, loss) for task in LOSSES for loss in LOSSES[task]])
def test_the_parts_add_up_to_the_whole(task, loss, weight, mix):
    found = []
    for parts in (1, 2, 4):
        dtype = torch.float32 if mix or weight else torch.float64  # fastai's mixing and recording
        learn = learner(parts, loss, task, weight, [mix(1.0)] if mix else [], bn=False, dtype=dtype)
        found.append(fitted(learn))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_one_part_is_fastais_own_batch():
    ours, theirs = learner(), learner()
    del theirs._do_one_batch
    assert equal(fitted(ours), fitted(theirs))


def test_clipping_sees_the_whole_gradient():
    found = [fitted(learner(parts, cbs=[GradientClip(0.1)], bn=False)) for parts in (1, 3)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert not equal(found[0], fitted(learner(bn=False)))


def test_parts_work_in_bf16():
    found = [fitted(learner(p, cbs=[Autocast("cpu")], bn=False, dtype=torch.float32)) for p in (1, 3)]
    assert not torch.is_autocast_enabled("cpu")
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.01)
    assert not equal(found[0], fitted(learner(bn=False, dtype=torch.float32)))


class ScaledHere(MixedPrecision):
    """fastai's, on a processor and with a scale that is too large at first: its gradients overflow."""

    def before_fit(self):
        self.autocast, self.learn.scaler = (
            torch.autocast("cpu", dtype=torch.bfloat16),
            torch.amp.GradScaler("cpu", 2.0**127),
        )
        self.scales = []


def test_steps_the_gradient_scaler_skips_are_skipped_as_a_whole():
    found, scales = [], []
    for parts in (1, 3):
        learn, seen = learner(parts, cbs=[ScaledHere()], bn=False, dtype=torch.float32), []
        learn.model[0].weight.register_hook(lambda gradient: gradient * 1000)
        learn.add_cb(Spy(lambda learn, seen=seen: seen.append((float(learn.loss), learn.scaler.get_scale()))))
        found.append(fitted(learn))
        scales.append([scale for _, scale in seen])
        assert all(loss < 10 for loss, _ in seen)
    assert scales[0] == scales[1]
    assert scales[0][0] == 2.0**126  # skipped: half the scale
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
     RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried ...")],
    ids=["cuda", "python", "cpu"],
)  # fmt: skip
def test_out_of_memory_gives_what_smaller_parts_from_the_start_give(where, error):
    crowded = Crowded(N // 2 + 1, where, error)
    learn = learner(crowded=crowded)
    told, changes = [], []
    learn.micro_batches.warn, learn.micro_batches.changed = (
        told.append,
        lambda: changes.append(learn.micro_batches.size),
    )
    assert equal(fitted(learn), fitted(learner(2, crowded=Crowded(N))))
    assert crowded.seen.count(N) == 1  # once bitten
    assert changes == [5]
    assert told == [
        "out of memory with 9 images at a time; from here on 5, in 2 parts to a batch of 9: "
        "batch size and learning rate stay"
    ]


def test_memory_that_runs_out_in_a_later_epoch():
    learn = learner(crowded=Crowded(4, step=8))
    fitted(learn, 3)
    # Two epochs of two batches for training and two for validation; then 9, 4 + 5 and 3 are tried, and 3 stays.
    assert learn.model[2].seen == [9] * 8 + [9, 4, 5] + [3] * (2 * 3 + 2 * 3)
    assert learn.micro_batches.limits == {"train": 3, "valid": 3}


def test_validation_alone_out_of_memory():
    class Validating(Crowded):
        def forward(self, x):
            return x if self.training else super().forward(x)

    room = Validating(1)
    learn, roomy = learner(crowded=room), learner()
    for a, b in zip(fitted(learn), fitted(roomy), strict=True):
        torch.testing.assert_close(a, b)
    assert room.seen[:5] == [9, 4, 3, 1, 2]
    assert learn.micro_batches.limits == {"train": None, "valid": 1}


@pytest.mark.parametrize(("room", "message"), [(1, "cannot even train on 3 images"), (0, "cannot even train on 3")])
def test_what_can_never_fit_is_an_error(room, message):
    with pytest.raises(RunError, match=message) as caught:
        fitted(learner(crowded=Crowded(room)))
    assert "--size" in caught.value.hint


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fitted(learner(crowded=Crowded(1, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))))
    assert not faults.is_out_of_memory(ValueError("out of memory"))


def test_more_parts_than_batchnorm_can_bear_are_refused():
    with pytest.raises(ConfigError, match="5 parts of 9 images"):
        MicroBatches(9, 5)


@given(n=st.integers(1, 200), parts=st.integers(1, 40), training=st.booleans())
def test_parts_cover_a_batch_evenly(n, parts, training):
    if n < SMALLEST * parts:
        return
    made = MicroBatches(n, parts)
    made.learn = type("L", (), {"training": training})()
    bounds = made.bounds(n)
    sizes = [end - start for start, end in bounds]
    assert [i for start, end in bounds for i in range(start, end)] == [*range(n)]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= -(-n // parts)
