"""The averaged weights are what they are said to be, and what is judged."""

import pytest
import torch
from fastai.vision.all import Callback, DataLoader, DataLoaders, Learner, noop
from torch import nn

from imgclf.training import ema
from imgclf.training.ema import Ema, judged

DECAY = 0.8


class Steps(Callback):
    """All weights and statistics after each training step, and the model that validates."""

    order = 100

    def before_fit(self):
        self.states, self.validated = [], []

    def after_batch(self):
        if self.training:
            self.states.append({k: v.clone().double() for k, v in self.learn.model.state_dict().items()})
        else:
            self.validated.append((self.learn.model, self.learn.model.training))


@pytest.fixture
def learn():
    torch.manual_seed(0)
    rows = [(torch.rand(3, 5, 5), torch.tensor(i % 2)) for i in range(12)]
    dls = DataLoaders(*[DataLoader(rows, bs=4) for _ in range(2)])
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))
    learn = Learner(dls, net, loss_func=nn.CrossEntropyLoss(), cbs=Steps())
    learn.remove_cbs(learn.cbs.filter(lambda cb: type(cb).__name__ == "ProgressCallback"))
    learn.logger = noop
    return learn


def test_the_average_is_that_of_all_steps_in_two_fits(learn):
    averaging = Ema(learn.model, DECAY)
    expected = None
    with learn.added_cbs(averaging):
        for _ in range(2):
            learn.fit(2, lr=0.05)
            for state in learn.steps.states:
                expected = state if expected is None else {
                    k: DECAY * expected[k] + (1 - DECAY) * v for k, v in state.items()
                }  # fmt: skip
            assert all(model is averaging.averaged.module and not mode for model, mode in learn.steps.validated)
        assert judged(learn) is averaging.averaged.module
        found = judged(learn).state_dict()
    for name in [name for name in found if "num_batches" not in name]:
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(found[name].double(), learn.steps.states[-1][name], atol=1e-4), name
    assert judged(learn) is learn.model
    assert all(p.requires_grad for p in learn.model.parameters())


def test_training_does_not_notice(learn):
    def weights(cbs):
        learn.model.load_state_dict(start)
        learn.opt = None
        torch.manual_seed(1)
        learn.fit(2, lr=0.05, cbs=cbs)
        return learn.steps.states[-1], learn.recorder.values[-1][0]

    start = {k: v.clone() for k, v in learn.model.state_dict().items()}
    plain, averaged = weights([]), weights([Ema(learn.model, DECAY)])
    assert plain[1] == averaged[1]
    assert all(torch.equal(plain[0][k], averaged[0][k]) for k in plain[0])


def test_the_mean_is_that_of_all_steps(learn):
    with learn.added_cbs(Ema(learn.model, "mean")):
        learn.fit(3, lr=0.05)
        found = judged(learn).state_dict()
    for name in [name for name in found if "num_batches" not in name]:
        expected = sum(state[name] for state in learn.steps.states) / len(learn.steps.states)
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-5, atol=1e-6)


def test_before_the_first_step_the_model_itself_is_judged(learn):
    averaging = Ema(learn.model, "mean")
    with torch.no_grad():
        learn.model[-1].bias.add_(1.0)  # as the probe does, after the average was made
    with learn.added_cbs(averaging):
        assert judged(learn) is learn.model
        learn.validate()
    assert all(model is learn.model for model, _ in learn.steps.validated)
    assert not averaging.begun


@pytest.mark.parametrize(
    ("settings", "probe", "familiar", "kept"),
    [({}, False, True, None), ({}, True, True, "mean"), ({}, True, False, "late"),
     ({"train.ema": 0.9}, False, True, 0.9), ({"train.ema": "mean"}, True, False, "mean"),
     ({"train.ema": None}, True, True, None)],
)  # fmt: skip
def test_no_average_unless_asked_for_or_the_recipe_has_one(make_config, learn, settings, probe, familiar, kept):
    wanted, told = ema.chosen(make_config(**settings), probe, familiar)
    assert wanted == kept
    assert bool(told) == (not settings and probe)
    assert len(ema.callbacks(wanted, learn.model)) == (kept is not None)


def test_of_a_late_average_the_steps_count_as_the_cubes_of_their_numbers():
    model = nn.Linear(1, 1, bias=False)
    averaged = ema.Averaged(model, "late")
    for step in range(1, 101):
        model.weight.data.fill_(step / 100)
        averaged.update_parameters(model)
    # The mean of x with the weight x³ on 0 to 1 is 4/5.
    assert averaged.module.weight.item() == pytest.approx(0.8, abs=0.01)
