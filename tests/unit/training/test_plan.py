import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.config import load_config
from imgclf.training import plan
from imgclf.training.plan_view import facts, phases


def cfg(**settings):
    return load_config("digits", **{f"train.{k}": v for k, v in settings.items()})


def make(pretrained=True, lr=2e-3, n_groups=3, batches=10, **settings):
    return plan.build(cfg(**settings), pretrained=pretrained, lr=lr, n_groups=n_groups, batches_per_epoch=batches)


def test_a_pretrained_body_gets_the_two_phases_of_fine_tune():
    frozen, unfrozen = make(epochs=3, freeze_epochs=1).phases
    assert (frozen.name, frozen.epochs, frozen.frozen, frozen.pct_start, frozen.div) == ("frozen", 1, True, 0.99, 25.0)
    assert (unfrozen.name, unfrozen.epochs, unfrozen.frozen) == ("unfrozen", 3, False)
    assert (unfrozen.pct_start, unfrozen.div) == (0.3, 5.0)


def test_learning_rates_are_halved_and_spread_once_unfrozen():
    frozen, unfrozen = make(lr=2e-3, lr_mult=100.0).phases
    assert frozen.lrs == pytest.approx((2e-4, 2e-4, 2e-3))
    assert unfrozen.lrs == pytest.approx((1e-5, 1e-4, 1e-3))


def test_without_pretraining_there_is_no_frozen_phase_and_one_rate():
    (only,) = make(pretrained=False, epochs=5, lr=1e-2).phases
    assert (only.name, only.epochs, only.frozen, only.lrs) == ("one_cycle", 5, False, (1e-2,) * 3)


def test_the_book_recipe_freezes_even_then():
    names = [p.name for p in make(pretrained=False, recipe="book").phases]
    assert names == ["frozen", "unfrozen"]


@pytest.mark.parametrize(("epochs", "freeze", "expected"), [(0, 2, ["frozen"]), (2, 0, ["unfrozen"])])
def test_phases_of_no_epochs_are_left_out(epochs, freeze, expected):
    assert [p.name for p in make(epochs=epochs, freeze_epochs=freeze).phases] == expected


def test_steps_are_batches_times_epochs():
    made = make(epochs=3, freeze_epochs=1, batches=10)
    assert (made.epochs, made.steps) == (4, 40)


@given(high=st.floats(1e-6, 1.0), mult=st.floats(1.0, 1e4), n=st.integers(2, 8))
def test_spread_is_fastais_even_mults(high, mult, n):
    from fastai.torch_core import even_mults

    assert plan.spread(high / mult, high, n) == pytest.approx(tuple(even_mults(high / mult, high, n)), rel=1e-9)


def test_the_view_names_every_figure(capsys):
    from rich.console import Console

    console = Console(width=120)
    console.print(
        facts(
            classes=list("abcdefgh"), n_train=1000, n_valid=250, batch_size=100, batches=10, workers=2,
            preprocess=type("P", (), {"size": 224, "resize": "crop"})(), arch="resnet34", pretrained=True,
            device="cpu", precision="fp32 (why)",
        )
    )  # fmt: skip
    console.print(phases(make(epochs=3, freeze_epochs=1), [(500_000, 11_000_000), (11_000_000, 11_000_000)]))
    text = capsys.readouterr().out
    for part in ("1,000 images at batch size 100 = 10 batches", "resnet34, pretrained", "8: a, b", "40", "0.0002"):
        assert part in text
    assert "0.50M of 11.00M" in text


def test_numpy_is_not_needed_for_a_plan():
    assert all(isinstance(lr, float) and not isinstance(lr, np.floating) for p in make().phases for lr in p.lrs)
