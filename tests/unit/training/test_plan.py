import numpy as np
import pytest
from fastai.torch_core import even_mults
from hypothesis import given
from hypothesis import strategies as st

from imgclf.config import dump, load_config
from imgclf.data.images import Preprocess
from imgclf.errors import ConfigError
from imgclf.training import plan
from imgclf.training.plan import Curve
from imgclf.training.plan_view import facts, phases


def cfg(**settings):
    return load_config("digits", **{f"train.{k}": v for k, v in settings.items()})


def make(pretrained=True, lr=2e-3, n_groups=3, batches=10, unfrozen=None, **settings):
    sizes = {"n_groups": n_groups, "batches_per_epoch": batches}
    return plan.build(cfg(**settings), pretrained=pretrained, lr=lr, unfrozen=unfrozen, **sizes)


def test_a_pretrained_body_gets_the_two_phases_of_fine_tune():
    frozen, unfrozen = make(epochs=3, freeze_epochs=1).phases
    assert (frozen.name, frozen.epochs, frozen.freeze_to) == ("frozen", 1, -1)
    assert frozen.curve == Curve("one_cycle", 0.99, 25.0)
    assert (unfrozen.name, unfrozen.epochs, unfrozen.freeze_to) == ("unfrozen", 3, 0)
    assert unfrozen.curve == Curve("one_cycle", 0.3, 5.0)


def test_learning_rates_are_halved_and_spread_once_unfrozen():
    frozen, unfrozen = make(lr=2e-3, lr_mult=100.0).phases
    assert frozen.lrs == pytest.approx((2e-4, 2e-4, 2e-3))
    assert unfrozen.lrs == pytest.approx((1e-5, 1e-4, 1e-3))


def probing(**settings):
    return plan.build(cfg(**settings), pretrained=True, lr=4e-4, n_groups=3, batches_per_epoch=10, probe=True)


def test_the_recipe_begins_at_the_probe():
    made = probing(epochs=3)
    probe, unfrozen = made.phases
    assert (probe.name, probe.epochs, probe.freeze_to, probe.curve.shape) == ("probe", 1, -1, "closed_form")
    assert (unfrozen.name, unfrozen.epochs, unfrozen.curve) == ("unfrozen", 3, plan.UNFROZEN)
    assert unfrozen.freeze_to == -2  # the first layers stay as they were pretrained
    assert unfrozen.lrs == pytest.approx((4e-4, 4e-4, 4e-4))  # the rate given is the highest: no frozen phase had it
    assert (made.epochs, made.steps) == (3, 30)


@pytest.mark.parametrize(
    ("probe", "given", "freeze_to", "staying"),
    [(True, "auto", -2, 1), (True, 0, 0, 0), (False, "auto", 0, 0), (False, 1, 1, 1), (False, -1, -1, 2)],
)
def test_what_trains_once_unfrozen_is_chosen_or_given(probe, given, freeze_to, staying):
    asked = cfg(freeze_to=given)
    phases, _ = plan.schedule(asked, True, probe)
    assert phases[-1].freeze_to == freeze_to
    assert plan.staying(asked, probe, 3) == staying


def test_after_the_probe_the_whole_of_a_body_of_one_group_trains():
    assert plan.staying(cfg(), True, 2) == 0


def test_a_first_group_that_there_is_not_is_an_error():
    with pytest.raises(ConfigError, match=r"train\.freeze_to: freeze_to 3 of unfrozen, .* has 3 layer groups"):
        make(freeze_to=3)


def test_no_epochs_leave_the_probe_alone():
    made = probing(epochs=0)
    assert [p.name for p in made.phases] == ["probe"]
    assert made.steps == 0


@pytest.mark.parametrize(
    ("pretrained", "settings", "expected"),
    [(True, {}, True), (False, {}, False), (True, {"recipe": "book"}, False), (True, {"freeze_epochs": 1}, False),
     (True, {"freeze_epochs": 0}, False), (True, {"schedule": "one_cycle"}, False), (True, {"epochs": 0}, True)],
)  # fmt: skip
def test_what_was_asked_for_is_done_instead(pretrained, settings, expected):
    assert plan.wants_probe(cfg(**settings), pretrained) is expected


def test_sizes_are_for_epochs_with_steps():
    made = plan.build(
        load_config("digits", **{**SIZED, "train.freeze_epochs": "auto"}), pretrained=True, lr=1e-3, n_groups=3,
        batches_per_epoch=2, probe=True,
    )  # fmt: skip
    assert made.phases[0].sizes == ()
    assert len(made.phases[1].sizes) == made.phases[1].epochs


def test_the_plan_says_that_the_probe_has_no_steps():
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(phases(probing(epochs=3), [(1, 5), (5, 5)]))
    shown = capture.get()
    assert "none: computed" in shown
    assert [line.split()[1:3] for line in shown.splitlines() if line.startswith("probe")] == [["1", "0"]]


def test_without_pretraining_there_is_no_frozen_phase_and_one_rate():
    (only,) = make(pretrained=False, epochs=5, lr=1e-2).phases
    assert (only.name, only.epochs, only.freeze_to, only.lrs) == ("one_cycle", 5, 0, (1e-2,) * 3)


@pytest.mark.parametrize(
    ("pretrained", "train", "expected"),
    [
        (False, {}, True), (False, {"freeze_epochs": 0}, True), (True, {}, False),
        (False, {"schedule": "one_cycle"}, False), (False, {"recipe": "book"}, False),
        (False, {"freeze_epochs": 1}, False), (False, {"epochs": 0}, False),
    ],
    ids=str,
)  # fmt: skip
def test_only_the_recipes_own_cycle_has_its_rate_from_random_weights(pretrained, train, expected):
    assert plan.from_random(cfg(**train), pretrained) is expected


@pytest.mark.parametrize(("pretrained", "told"), [(False, True), (True, False)])
def test_a_ratio_of_rates_that_has_no_use_is_told(pretrained, told):
    assert ("train.lr_mult (50) is for an unfrozen phase" in make(pretrained, lr_mult=50.0).reason) == told
    assert "lr_mult" not in make(pretrained).reason


def test_the_book_recipe_freezes_even_then():
    names = [p.name for p in make(pretrained=False, recipe="book").phases]
    assert names == ["frozen", "unfrozen"]


@pytest.mark.parametrize(("epochs", "freeze", "expected"), [(0, 2, ["frozen"]), (2, 0, ["unfrozen"])])
def test_phases_of_no_epochs_are_left_out(epochs, freeze, expected):
    assert [p.name for p in make(epochs=epochs, freeze_epochs=freeze).phases] == expected


def test_freezing_asked_for_is_done_even_without_pretraining():
    assert [p.name for p in make(pretrained=False, freeze_epochs=2).phases] == ["frozen", "unfrozen"]
    assert [p.name for p in make(pretrained=False, epochs=0).phases] == ["frozen"]
    assert [p.name for p in make(pretrained=False, freeze_epochs=0).phases] == ["one_cycle"]


@pytest.mark.parametrize("kind", ["one_cycle", "flat_cos"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_schedule_of_one_phase_trains_all_layers_at_one_rate(kind, pretrained):
    (only,) = make(schedule=kind, pretrained=pretrained, epochs=5, lr=1e-2).phases
    assert (only.name, only.epochs, only.freeze_to, only.lrs) == (kind, 5, 0, (1e-2,) * 3)
    assert only.curve == {"one_cycle": plan.ONE_CYCLE, "flat_cos": plan.FLAT_COS}[kind]


STAGES = [
    {"epochs": 1, "freeze_to": -1, "lr": 2e-3},
    {"epochs": 2, "freeze_to": -2, "lr": [1e-4, 1e-3]},
    {"epochs": 3, "freeze_to": 0, "lr": [1e-5, 1e-3]},
]


def test_stages_are_phases_of_their_own():
    first, second, third = make(schedule="staged", epochs=3, stages=STAGES).phases
    assert [p.name for p in (first, second, third)] == ["stage1", "stage2", "stage3"]
    assert [(p.epochs, p.freeze_to) for p in (first, second, third)] == [(1, -1), (2, -2), (3, 0)]
    assert first.lrs == (2e-3,) * 3
    assert third.lrs == pytest.approx((1e-5, 1e-4, 1e-3))


def test_a_stage_that_freezes_more_groups_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="freeze_to -4 of stage1, but the model has 3 layer groups"):
        make(schedule="staged", epochs=3, stages=[{"epochs": 1, "freeze_to": -4, "lr": 1e-3}])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": "book", "schedule": "flat_cos"}, "book is the schedule fine_tune"),
        ({"recipe": "book", "freeze_to": 1}, "in the end trains all layers; train.freeze_to is 1"),
        ({"schedule": "one_cycle", "freeze_to": 1}, r"train.freeze_to \(1\): without effect"),
        ({"schedule": "staged"}, "need each other"),
        ({"stages": STAGES}, "need each other"),
        ({"schedule": "staged", "stages": []}, "train.stages"),
        ({"schedule": "one_cycle", "epochs": 0}, "epochs is 0"),
        ({"schedule": "one_cycle", "freeze_epochs": 2}, r"train.freeze_epochs \(2\): without effect"),
        ({"schedule": "flat_cos", "moms": [0.9, 0.8, 0.9]}, "train.moms"),
        ({"schedule": "staged", "stages": STAGES, "lr": 1e-3, "epochs": 7}, r"epochs \(7\), train.lr \(0.001\)"),
        ({"schedule": "staged", "stages": [{**STAGES[0], "frezze": 1}]}, "0.frezze: Extra inputs"),
        ({"schedule": "staged", "stages": [{"epochs": 0, "freeze_to": 0, "lr": 1e-3}]}, "0.epochs: Input should be"),
    ],
    ids=str,
)
def test_contradictions_are_errors(settings, said):
    with pytest.raises(ConfigError, match=said) as e:
        cfg(**settings)
    assert e.value.exit_code == 2


def test_a_stored_configuration_of_any_schedule_loads_again(tmp_path):
    for settings in (
        {},
        {"schedule": "one_cycle"},
        {"schedule": "flat_cos"},
        {"schedule": "staged", "epochs": 3, "stages": STAGES},
    ):
        stored = tmp_path / "c.yaml"
        stored.write_text(dump(cfg(**settings)))
        assert load_config(str(stored)) == cfg(**settings)


def test_steps_are_batches_times_epochs():
    made = make(epochs=3, freeze_epochs=1, batches=10)
    assert (made.epochs, made.steps) == (4, 40)


SIZED = {"augment.sizes": [16, 32], "augment.presize": 40}


@pytest.mark.parametrize(
    ("epochs", "sizes", "expected"),
    [
        ((1, 3), [8, 16], [(8,), (8, 16, 16)]),
        ((1, 2), [8, 16], [(8,), (16, 16)]),
        ((1, 4), [8, 16, 32], [(8,), (16, 16, 32, 32)]),
        ((0, 2), [8, 16], [(8, 16)]),
        ((1, 3), None, [(), ()]),
    ],
)
def test_epochs_are_divided_over_the_sizes(epochs, sizes, expected):
    settings = {"augment.sizes": sizes, "augment.size": sizes[-1] if sizes else 32, "augment.presize": 40}
    settings |= {"train.freeze_epochs": epochs[0], "train.epochs": epochs[1], "train.schedule": "fine_tune"}
    phases, _ = plan.schedule(load_config("digits", **settings), True)
    assert [p.sizes for p in phases] == expected


@given(n=st.lists(st.integers(1, 9), min_size=1, max_size=4), k=st.integers(1, 5))
def test_every_size_gets_its_share_of_the_epochs(n, k):
    phases = [plan.Phase(str(i), epochs, 0, (), plan.ONE_CYCLE) for i, epochs in enumerate(n)]
    if k > sum(n):
        with pytest.raises(ConfigError, match="each needs one"):
            plan.resized(phases, tuple(range(1, k + 1)))
        return
    made = plan.resized(phases, tuple(range(1, k + 1)))
    assert [len(p.sizes) for p in made] == n
    each = [size for p in made for size in p.sizes]
    assert each == sorted(each)
    counts = [each.count(size) for size in range(1, k + 1)]
    assert counts == sorted(counts) and counts[-1] - counts[0] <= 1
    assert [(part.name, size) for p in made for part in p.parts for size in part.sizes] == [
        (p.name, size) for p in made for size in p.sizes
    ]


def test_more_epochs_are_at_the_last_size():
    sized = load_config("digits", **SIZED)
    phases, _ = plan.schedule(sized, True)
    assert plan.extended(sized, tuple(phases), 2, 1e-3)[-1].sizes == (32, 32)


def test_more_epochs_go_on_at_the_rates_of_the_last_phase():
    made = make(epochs=2)
    _, unfrozen, more = plan.extended(cfg(), made.phases, 3, 2e-3)
    assert (more.name, more.epochs, more.freeze_to, more.lrs) == ("extend1", 3, unfrozen.freeze_to, unfrozen.lrs)
    assert plan.extended(cfg(), (*made.phases, more), 1, 2e-3)[-1].name == "extend2"


@pytest.mark.parametrize(("mult", "first"), [("auto", 4e-4), (100.0, 4e-6)])
def test_after_a_probe_alone_more_epochs_train_the_body(mult, first):
    _, more = plan.extended(cfg(epochs=0, lr_mult=mult), probing(epochs=0).phases, 3, 4e-4)
    assert (more.name, more.epochs, more.freeze_to, more.curve) == ("extend1", 3, -2, plan.UNFROZEN)
    assert (more.lrs[0], more.lrs[-1]) == pytest.approx((first, 4e-4))


def test_the_view_shows_the_sizes(capsys):
    from rich.console import Console

    made = plan.build(load_config("digits", **SIZED), pretrained=True, lr=1e-3, n_groups=3, batches_per_epoch=2)
    Console(width=120).print(phases(made, [(1, 2), (2, 2)]))
    said = capsys.readouterr().out
    assert "pixels" in said and "16 (3 epochs), then 32 (5 epochs)" in said
    Console(width=120).print(phases(make(), [(1, 2), (2, 2)]))
    assert "pixels" not in capsys.readouterr().out


@given(high=st.floats(1e-6, 1.0), mult=st.floats(1.0, 1e4), n=st.integers(2, 8))
def test_spread_is_fastais_even_mults(high, mult, n):
    assert plan.spread(high / mult, high, n) == pytest.approx(tuple(even_mults(high / mult, high, n)), rel=1e-9)


def test_the_view_names_every_figure(capsys):
    from rich.console import Console

    console = Console(width=120)
    console.print(
        facts(
            classes=list("abcdefgh"), n_train=1000, n_valid=250, batch_size=100, batches=10, workers=2,
            preprocess=Preprocess(224), arch="resnet34", pretrained=True,
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


def test_the_unfrozen_phase_may_have_a_rate_of_its_own():
    frozen, unfrozen = make(lr=2e-3, lr_unfrozen=5e-4, lr_mult=100.0).phases
    assert frozen.lrs == pytest.approx((2e-4, 2e-4, 2e-3))
    assert unfrozen.lrs == pytest.approx((5e-6, 5e-5, 5e-4))
    assert "0.0005, as given" in make(lr_unfrozen=5e-4).reason


def test_or_one_that_is_yet_to_be_found():
    assert make(lr_unfrozen="auto").phases[1].lrs == ()
    assert make(lr_unfrozen="auto", unfrozen=2e-4).phases[1].lrs == pytest.approx((2e-6, 2e-5, 2e-4))
    assert make(lr_unfrozen=5e-4, unfrozen=2e-4).phases[1].lrs[-1] == 5e-4  # given is given


@pytest.mark.parametrize(
    "settings",
    [{"pretrained": False}, {"epochs": 0, "freeze_epochs": 1}, {"freeze_epochs": 0, "schedule": "fine_tune"}],
    ids=str,
)
def test_a_rate_for_a_phase_that_there_is_not_is_refused(settings):
    with pytest.raises(ConfigError, match=r"train\.lr_unfrozen: 0\.001 is for the unfrozen phase"):
        make(lr_unfrozen=1e-3, **settings)


@pytest.mark.parametrize("settings", [{"schedule": "one_cycle"}, {"recipe": "book"}], ids=str)
def test_and_so_where_the_schedule_has_no_use_for_it(settings):
    with pytest.raises(ConfigError, match=r"train\.lr_unfrozen"):
        cfg(lr_unfrozen="auto", **settings)
